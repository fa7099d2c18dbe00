"""The included job server in a separate process, and a bare client for it."""

from __future__ import annotations

import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from django_gearman.protocol.packets import Packet, PacketReader, PacketType, encode

ROOT = Path(__file__).parent.parent.parent
PATIENCE = 120.0  # seconds until a test gives up
_PROGRAM = [sys.executable, "-m", "django_gearman.jobserver", "--port=0"]


class JobServerProcess:
    """A `python -m django_gearman.jobserver`, at `port`, until the block ends."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [*_PROGRAM, *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
        self.greeting = self.process.stdout.readline() if ready else ""
        found = re.search(r":(\d+)(?: over TLS)?: ", self.greeting)
        if found is None:
            self.process.kill()
            raise RuntimeError(f"no server: {self.greeting!r} {self.process.communicate()[1]}")
        self.port = int(found[1])

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def stop(self, number: int = signal.SIGTERM) -> str:
        """End it by a signal; return its output since the start."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=PATIENCE)
        return out + err

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.kill()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


class Wire:
    """A connection that sends packets and waits for packets, one after another."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = PacketReader()
        self._packets: list[Packet] = []

    def send(self, kind: PacketType, *args: bytes) -> None:
        self.socket.sendall(encode(kind, *args))

    def receive(self, timeout: float = PATIENCE) -> Packet | None:
        """Return the next packet, None if none comes in time; EOFError when the server has closed."""
        deadline = time.monotonic() + timeout
        while not self._packets:
            self.socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                data = self.socket.recv(1 << 20)
            except TimeoutError:
                return None
            except ConnectionResetError as error:
                raise EOFError from error
            if not data:
                raise EOFError
            self._packets = self._reader.feed(data)
        return self._packets.pop(0)

    def expect(self, kind: PacketType) -> tuple[bytes, ...]:
        """Return the arguments of the next packet, which must be of this kind."""
        packet = self.receive()
        assert packet is not None, f"no {kind.name} within {PATIENCE} s"
        assert packet.type is kind, f"{packet} in place of {kind.name}"
        return packet.args

    def submit(
        self,
        function: bytes,
        workload: bytes = b"",
        unique: bytes = b"",
        kind: PacketType = PacketType.SUBMIT_JOB,
    ) -> bytes:
        """Submit a job and return its handle."""
        self.send(kind, function, unique, workload)
        [handle] = self.expect(PacketType.JOB_CREATED)
        return handle

    def can_do(self, *functions: bytes) -> None:
        for function in functions:
            self.send(PacketType.CAN_DO, function)

    def grab(self) -> tuple[bytes, ...] | None:
        """Grab a job: (handle, function, unique, workload), None if there is none."""
        self.send(PacketType.GRAB_JOB_UNIQ)
        packet = self.receive()
        assert packet is not None
        return packet.args if packet.type is PacketType.JOB_ASSIGN_UNIQ else None

    def echo(self) -> None:
        """Wait until the server has done all that was asked of it."""
        self.send(PacketType.ECHO_REQ, b"ping")
        assert self.expect(PacketType.ECHO_RES) == (b"ping",)

    def ask(self, command: str, end: bytes = b".\n") -> str:
        """Run an admin command; return its answer."""
        self.socket.sendall(command.encode() + b"\r\n")
        self.socket.settimeout(PATIENCE)
        answer = b""
        while not answer.endswith((end, b"\r\n")):
            data = self.socket.recv(65536)
            if not data:
                break
            answer += data
        return answer.decode()

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()


def all_of(wires: Sequence[Wire]) -> None:
    """Wait until the server has done all that was asked over these."""
    for wire in wires:
        wire.echo()
