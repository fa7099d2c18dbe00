"""A private gearmand on a free loopback port."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from types import TracebackType
from typing import Self

from ..backends.gearmand import GearmandBackend
from ..connection import Connection, Server
from ..exceptions import BackendError

_PLACES = "/usr/sbin:/usr/local/sbin"  # where it is installed, often not on an ordinary PATH
_SECONDS = 30.0  # to start
_ATTEMPTS = 5  # somebody else may take a free port before gearmand does


class GearmandNotInstalled(RuntimeError):
    """There is no gearmand on this machine."""


def find_gearmand() -> str:
    """Return the path of the gearmand on this machine; GearmandNotInstalled if there is none."""
    found = shutil.which("gearmand") or shutil.which("gearmand", path=_PLACES)
    if found is None:
        raise GearmandNotInstalled(
            "gearmand is not installed; on Debian and Ubuntu: apt-get install gearman-job-server"
        )
    return found


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class GearmanServer:
    """
    A gearmand of one's own, at `address` ("127.0.0.1:port"), empty at first.

    Made, it runs, with further command line `arguments`, until `stop()`, or until the block ends if
    it is used as a context manager. Raises GearmandNotInstalled, and RuntimeError, with its log, if
    it does not start.
    """

    def __init__(self, *arguments: str) -> None:
        self._program = find_gearmand()
        self._arguments = arguments
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - until stop()
        self.port = free_port()
        self.start()

    @property
    def address(self) -> str:
        return str(self._server)

    @property
    def _server(self) -> Server:
        return Server("127.0.0.1", self.port)

    def start(self) -> None:
        """Start the process, after `kill()`, at the same address."""
        for _ in range(_ATTEMPTS):
            self.process = subprocess.Popen(
                [
                    self._program,
                    "--listen=127.0.0.1",
                    f"--port={self.port}",
                    "--log-file=stderr",
                    *self._arguments,
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._log,
            )
            if self._comes_up():
                return
            self.kill()
        self._log.seek(0)
        told = self._log.read().decode(errors="replace").strip()
        self._log.close()
        raise RuntimeError(f"gearmand does not start at {self.address}: {told}")

    def _comes_up(self) -> bool:
        deadline = time.monotonic() + _SECONDS
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                Connection(self._server, connect_timeout=1.0).close()
                return True
            except BackendError:
                time.sleep(0.01)  # it is not listening yet
        return False

    def reset(self) -> None:
        """See to it that it runs and is empty: start it anew where it does not, or is not."""
        try:
            jobs = sum(row.total for row in GearmandBackend([self._server]).functions())
        except BackendError:
            jobs = 1
        if jobs:
            self.kill()
            self.start()

    def kill(self) -> None:
        """End the process at once, as a crash would: a queue in memory is lost."""
        self.resume()
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        """Stop the process where it is: it accepts connections, but does not answer."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let the process go on."""
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End the process; with its log, it cannot be started again."""
        self.kill()
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
