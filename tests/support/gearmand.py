"""A private gearmand on a free loopback port."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

GEARMAND = shutil.which("gearmand") or shutil.which("gearmand", path="/usr/sbin:/usr/local/sbin")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Any, what: str, seconds: float = 30) -> Any:
    """Poll until `condition()` is true and return its value."""
    deadline = time.monotonic() + seconds
    while True:
        if value := condition():
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.01)


class Gearmand:
    """The process; it can be killed, stopped, continued and started again on its port."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        assert GEARMAND, "gearmand is not installed: apt-get install gearman-job-server"
        self._log = directory / "gearmand.log"
        self._arguments = arguments
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        for _ in range(5):  # somebody else may have taken the port meanwhile
            self.process = subprocess.Popen(
                [
                    str(GEARMAND),
                    "--listen=127.0.0.1",
                    f"--port={self.port}",
                    f"--log-file={self._log}",
                    *self._arguments,
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            wait_until(lambda: self.process.poll() is not None or self._answers(), "gearmand up")
            if self.process.poll() is None:
                return
            time.sleep(0.1)
        raise AssertionError(f"gearmand does not start: {self._log.read_text()}")

    def _answers(self) -> bool:
        try:
            return self.ask("version").startswith("OK")
        except OSError:
            return False

    def ask(self, command: str) -> str:
        """Run an admin command and return its answer, up to the line that ends it."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
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

    def totals(self) -> dict[str, tuple[int, int, int]]:
        """Return (total, running, workers) by function."""
        rows = (line.split("\t") for line in self.ask("status").splitlines() if line != ".")
        return {row[0]: (int(row[1]), int(row[2]), int(row[3])) for row in rows}

    def kill(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)
