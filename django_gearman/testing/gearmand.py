"""A private job server on a free loopback port."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

from ..backends.gearmand.backend import GearmandBackend
from ..exceptions import BackendError
from ..protocol.address import ServerAddress
from ..utils.clock import monotonic
from .programs import Program, choose_program, installed_gearmand

_SECONDS = 30.0  # limit of a start
_ATTEMPTS = 5  # another program may take a free port first


def free_port() -> int:
    """Return a port of the loopback interface on which no program listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _with_this_process() -> list[str]:
    """Return a function that makes a program end together with a killed test run."""
    guard = shutil.which("setpriv")
    # A program that another thread starts would end with that thread.
    is_main = threading.current_thread() is threading.main_thread()
    return [guard, "--pdeathsig", "KILL"] if guard and is_main else []


class GearmanServer:
    """
    A private job server on a free port, empty at first.

    It is gearmand, or the included server if gearmand is not installed. It runs until `kill()`, or, as
    a context manager, until the block ends.

    `arguments` are more options of its command line. With `arguments`, it is always gearmand, and
    GearmandNotInstalled is raised if there is none. Raises RuntimeError, with the server's log, if the
    server does not start.
    """

    def __init__(self, *arguments: str, program: Program | None = None) -> None:
        self._arguments = arguments
        self._program = program or (installed_gearmand() if arguments else choose_program())
        self._start_anew()

    @property
    def name(self) -> str:
        """The program: "gearmand" or "gearman_server"."""
        return self._program.name

    @property
    def address(self) -> str:
        """The address, "127.0.0.1:port", as GEARMAN_SERVERS takes it."""
        return f"127.0.0.1:{self.port}"

    def _start_anew(self) -> None:
        """Start it at another port; try several if necessary."""
        for attempt in range(_ATTEMPTS):
            self.port = free_port()
            try:
                self.start()
                return
            except RuntimeError:
                if attempt == _ATTEMPTS - 1:
                    raise

    def start(self) -> None:
        """Start the process at the same address, after `kill()`."""
        with tempfile.TemporaryFile() as log:
            self.process = subprocess.Popen(
                [
                    *_with_this_process(),
                    *self._program.command,
                    f"--port={self.port}",
                    *self._arguments,
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                env={**os.environ, **self._program.environment},
            )
            if self._comes_up():
                return
            self.kill()
            log.seek(0)
            output = log.read().decode(errors="replace").strip()
        raise RuntimeError(f"{self.name} does not start at {self.address}: {output or 'no answer'}")

    def _comes_up(self) -> bool:
        """Wait until this process answers: another one may have taken the port."""
        deadline = monotonic() + _SECONDS
        while self.process.poll() is None and monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as admin:
                admin.sendall(b"getpid\n")
                return admin.recv(100) == f"OK {self.process.pid}\n".encode()
            time.sleep(0.01)  # it does not listen yet
        return False

    def reset(self) -> None:
        """
        Make the server run, without jobs and workers.

        If it does not run, or has jobs or workers left, start another one, at another address,
        which programs of an earlier test do not know.
        """
        backend = GearmandBackend([ServerAddress("127.0.0.1", self.port)])
        try:
            if self.process.poll() is None:
                self.resume()
                if not any(row.total or row.workers for row in backend.functions()):
                    return
        except BackendError:
            pass  # it hangs, or another process listens at its port
        self.kill()
        self._start_anew()

    def kill(self) -> None:
        """Kill the process, like a crash; `start()` starts it again, empty."""
        self.resume()
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        """Stop the process: it accepts connections, but does not answer."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue the process."""
        self.process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()
