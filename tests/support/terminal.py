"""Programs on a terminal of their own, as a user sees them."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PATIENCE = 60.0  # seconds until a test gives up
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def _control() -> None:
    """Make stdin the terminal that sends signals to this new process, for example for CONTROL-C."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Terminal:
    """A run of manage.py on a pseudo-terminal of this size."""

    def __init__(
        self,
        *arguments: str,
        columns: int = 80,
        lines: int = 24,
        settings: str = "tests.integration.settings",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        inherited = {
            name: value
            for name, value in os.environ.items()
            if name not in ("COLUMNS", "LINES", "NO_COLOR")
        }
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**inherited, "DJANGO_SETTINGS_MODULE": settings, **(environment or {})},
            start_new_session=True,
            preexec_fn=_control,
        )
        os.close(slave)
        self.raw = ""

    @property
    def text(self) -> str:
        """The output so far, without colours and carriage returns."""
        return _COLOUR.sub("", self.raw).replace("\r", "")

    def wait_for(self, condition: Callable[[str], object], what: str) -> None:
        """Read until the condition holds for the text."""
        deadline = time.monotonic() + PATIENCE
        while not condition(self.text):
            self._read(0.05)
            assert time.monotonic() < deadline, f"not within {PATIENCE} s: {what}\n{self.text}"

    def send(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def wait(self) -> int:
        """Read until the program ends; return its exit code."""
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"it does not end within {PATIENCE} s: {self.text}"
            self._read(0.05)
        self._read(0.0)
        return self.process.returncode

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)

    def _read(self, seconds: float) -> None:
        while select.select([self._master], [], [], seconds)[0]:
            try:
                data = os.read(self._master, 65536)
            except OSError:  # the program has ended
                return
            if not data:
                return
            self.raw += data.decode(errors="replace")
            seconds = 0.0

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()
