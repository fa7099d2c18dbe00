"""A private gearmand for tests, with more than the package offers."""

from __future__ import annotations

import socket
import time
from typing import Any

from django_gearman.testing import GearmanServer


def wait_until(condition: Any, what: str, seconds: float = 60) -> Any:
    """Poll until `condition()` is true and return its value."""
    deadline = time.monotonic() + seconds
    while True:
        if value := condition():
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.01)


class Gearmand(GearmanServer):
    """A gearmand that answers admin commands."""

    def ask(self, command: str) -> str:
        """Run an admin command and return its answer, up to the line that ends it."""
        with socket.create_connection(("127.0.0.1", self.port), 60) as connection:
            connection.sendall(f"{command}\r\n".encode())
            answer = b""
            while not (answer.endswith((b"\n.\n", b"OK\r\n")) or answer == b".\n"):
                data = connection.recv(65536)
                if not data:
                    break
                answer += data
                if command in ("version", "getpid") and answer.endswith(b"\n"):
                    break
            return answer.decode()

    def clients(self) -> int:
        """Return the number of connections without functions, except the one that asks."""
        return sum(" - :" in line for line in self.ask("workers").splitlines()) - 1

    def totals(self) -> dict[str, tuple[int, int, int]]:
        """Return (total, running, workers) by function."""
        rows = (line.split("\t") for line in self.ask("status").splitlines() if line != ".")
        return {row[0]: (int(row[1]), int(row[2]), int(row[3])) for row in rows}
