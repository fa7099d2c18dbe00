"""
The floor in Python: sockets, with the minimum of the protocol.

    python -m benchmarks.raw PORT WINDOW    # a worker with WINDOW open GRAB_JOBs

A worker of window 1 requests the next job in the same write that reports the last one.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
import time
from collections.abc import Iterator

from benchmarks.agent import batches, timed
from benchmarks.marks import MARK, note

CAN_DO, PRE_SLEEP, NOOP, SUBMIT_JOB, JOB_CREATED, GRAB_JOB, NO_JOB = 1, 4, 6, 7, 8, 9, 10
JOB_ASSIGN, WORK_COMPLETE, SUBMIT_JOB_BG = 11, 13, 18
WARM_UP = 50
_HEADER = struct.Struct(">4sII")


def packet(kind: int, *arguments: bytes) -> bytes:
    body = b"\0".join(arguments)
    return _HEADER.pack(b"\0REQ", kind, len(body)) + body


class Wire:
    """A connection that returns packets as they arrive."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.send = self.socket.sendall
        self._rest = b""

    def packets(self) -> Iterator[tuple[int, bytes]]:
        """Wait for data, and return the complete packets."""
        data = self.socket.recv(65536)
        if not data:
            raise EOFError("the server closed the connection")
        data = self._rest + data if self._rest else data
        start, end = 0, len(data)
        while end - start >= 12:
            _, kind, size = _HEADER.unpack_from(data, start)
            if end - start < 12 + size:
                data += self._missing(start + 12 + size - end)
                end = len(data)
            yield kind, data[start + 12 : start + 12 + size]
            start += 12 + size
        self._rest = data[start:]

    def _missing(self, size: int) -> bytes:
        """Read exactly the rest of a large packet."""
        rest = bytearray(size)
        view = memoryview(rest)
        while view:
            view = view[self.socket.recv_into(view) :]
        return bytes(rest)


class Client:
    def __init__(self) -> None:
        self._wire = Wire(int(os.environ["GEARMAN_SERVERS"].rpartition(":")[2]))

    def _wait_for(self, kind: int, count: int = 1) -> None:
        while count > 0:
            for received, _ in self._wire.packets():
                count -= received == kind

    def mark(self) -> None:
        self._wire.send(packet(SUBMIT_JOB_BG, b"noop", b"", MARK.encode()))
        self._wait_for(JOB_CREATED)

    def round_trip(self, size: int, count: int) -> list[float]:
        payload = b"x" * size

        def call() -> None:
            self._wire.send(packet(SUBMIT_JOB, b"echo", b"", payload))
            self._wait_for(WORK_COMPLETE)

        timed(call, WARM_UP)
        return timed(call, count)

    def submit(self, size: int, count: int) -> float:
        payload = b"x" * size

        def call() -> None:
            self._wire.send(packet(SUBMIT_JOB_BG, b"noop", b"", payload))
            self._wait_for(JOB_CREATED)

        return sum(timed(call, count))

    def bulk(self, size: int, count: int) -> float:
        payload = b"x" * size
        started = time.perf_counter()
        for batch in batches(count):
            jobs = [packet(SUBMIT_JOB_BG, b"noop", b"", payload) for _ in range(batch)]
            self._wire.send(b"".join(jobs))
            self._wait_for(JOB_CREATED, batch)
        return time.perf_counter() - started


def work(port: int, window: int) -> None:
    wire = Wire(port)
    grab, sleep, mark = packet(GRAB_JOB), packet(PRE_SLEEP), MARK.encode()
    wire.send(packet(CAN_DO, b"noop") + packet(CAN_DO, b"echo") + grab * window)
    asked = window
    while True:
        answer = b""
        for kind, body in wire.packets():
            if kind == JOB_ASSIGN:
                handle, function, result = body.split(b"\0", 2)
                if function == b"noop":
                    if result == mark:
                        note(MARK)
                    result = b""
                answer += packet(WORK_COMPLETE, handle, result) + grab
            elif kind == NO_JOB:
                asked -= 1
                answer += b"" if asked else sleep
            elif kind == NOOP:
                answer += grab * (window - asked)
                asked = window
        wire.send(answer)


if __name__ == "__main__":
    work(int(sys.argv[1]), int(sys.argv[2]))
