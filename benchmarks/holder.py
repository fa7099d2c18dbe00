"""
A worker that holds many jobs of the benchmark's `echo` at once, and finishes each after 50 ms.

    python -m benchmarks.holder PORT SLOTS

It stands for jobs that wait for something, so that a client's own cost is seen. It speaks over a
plain socket.
"""

from __future__ import annotations

import select
import socket
import sys
import time
from collections import deque

from django_gearman.protocol.packets import PacketReader, PacketType, encode

SECONDS = 0.05
FUNCTION = b"benchmarks.echo"


def main(port: int, slots: int) -> None:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    grab = encode(PacketType.GRAB_JOB)
    connection.sendall(encode(PacketType.CAN_DO, FUNCTION) + grab * slots)
    reader, held, refused = PacketReader(), deque[tuple[float, bytes]](), 0
    while True:
        patience = max(0.0, held[0][0] - time.monotonic()) if held else None
        answer = []
        if select.select([connection], [], [], patience)[0]:
            data = connection.recv(1 << 18)
            if not data:
                return
            for packet in reader.feed(data):
                if packet.type is PacketType.JOB_ASSIGN:
                    held.append((time.monotonic() + SECONDS, packet.args[0]))
                elif packet.type is PacketType.NO_JOB:
                    refused += 1
                    answer.append(encode(PacketType.PRE_SLEEP))
                elif packet.type is PacketType.NOOP:
                    answer.append(grab * refused)
                    refused = 0
        now = time.monotonic()
        while held and held[0][0] <= now:
            _, handle = held.popleft()
            answer += [encode(PacketType.WORK_COMPLETE, handle, b'"x"'), grab]
        if answer:
            connection.sendall(b"".join(answer))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
