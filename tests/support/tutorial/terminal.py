"""A terminal, in which one command runs at a time."""

from __future__ import annotations

import fcntl
import math
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping
from pathlib import Path

from .transcript import pattern_of, plain

#: Commands that run until Ctrl-C.
_STAYS = re.compile(
    r"manage\.py (?:runserver|gearman_server|gearman_worker(?!.*--burst))|receiver\.py"
)
_CTRL_C = b"\x03"
_SECONDS = 180.0  # until a stranger gives up; it is long, because other tests may run beside it


class Terminal:
    """
    A shell in a terminal of 80 columns: it has a directory, an environment, and a command or none.

    `ports` has the ports in use by those that a page names; output is compared with the latter.
    """

    def __init__(
        self, directory: Path, environment: Mapping[str, str], ports: Mapping[str, str]
    ) -> None:
        self.directory = directory
        self._ports = ports
        self.environment = {**environment, "TERM": "xterm", "COLUMNS": "80"}
        self.process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._master = -1
        self._output = b""
        self._seen = 0  # characters of the plain output that were compared already

    @property
    def age(self) -> float:
        """The number of seconds for which the command has run; infinite without one."""
        return math.inf if self.process is None else time.monotonic() - self._started

    def run(self, command: str, expected: str) -> None:
        """Type a command and compare its output; one that stays goes on running."""
        assert self.process is None, f"{command}: another command runs in this terminal"
        if self._is_of_the_shell(command):
            return
        self._start(command)
        if _STAYS.search(command):
            self.expect(expected)
            return
        output = self._finish()
        if expected or output.strip():
            matches = pattern_of(expected).fullmatch(output) if expected else None
            assert matches, f"$ {command}\nshows\n{output}\nbut the page says\n{plain(expected)}"

    def expect(self, expected: str) -> None:
        """Wait until the command shows this next."""
        pattern = pattern_of(expected)
        end = time.monotonic() + _SECONDS
        while (found := pattern.match(plain(self.text), self._seen)) is None:
            shown = plain(self.text)[self._seen :]
            assert time.monotonic() < end, (
                f"the terminal shows\n{shown}\nand not\n{plain(expected)}"
            )
            assert self._read(0.1) or not self._has_ended(), f"it ended with\n{shown}"
        self._seen = found.end()

    def interrupt(self, expected: str) -> None:
        """Press Ctrl-C, compare the last output, and wait until the command has ended."""
        os.write(self._master, _CTRL_C)
        rest = self._finish()
        assert pattern_of(expected).fullmatch(rest), (
            f"after Ctrl-C the terminal shows\n{rest}\nbut the page says\n{plain(expected)}"
        )

    def close(self) -> None:
        if self.process is not None:
            if self.process.poll() is None:
                os.write(self._master, _CTRL_C)
                try:
                    self.process.wait(10)
                except subprocess.TimeoutExpired:
                    self.process.kill()
            self._finish()

    def _is_of_the_shell(self, command: str) -> bool:
        if named := re.fullmatch(r"cd (\S+)", command):
            self.directory /= named[1]
            assert self.directory.is_dir()
            return True
        if named := re.fullmatch(r"source (\S+)/bin/activate", command):
            scripts = self.directory / named[1] / "bin"
            assert (scripts / "activate").exists()
            self.environment["PATH"] = f"{scripts}{os.pathsep}{self.environment['PATH']}"
            return True
        return False

    def _start(self, command: str) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self._output, self._seen, self._started = b"", 0, time.monotonic()
        self.process = subprocess.Popen(
            ["setsid", "--ctty", "bash", "-c", command],
            cwd=self.directory,
            env=self.environment,
            stdin=slave,
            stdout=slave,
            stderr=slave,
        )
        os.close(slave)

    @property
    def text(self) -> str:
        """The output of the last command so far."""
        text = self._output.decode(errors="replace")
        for named, own in self._ports.items():
            text = re.sub(rf"\b{own}\b", named, text)
        return text

    def _has_ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def _read(self, seconds: float) -> bool:
        """Take more output; return False if there is none now."""
        if not select.select([self._master], [], [], seconds)[0]:
            return False
        try:
            more = os.read(self._master, 65536)
        except OSError:  # nobody has the other end any more
            return False
        self._output += more
        return bool(more)

    def _finish(self) -> str:
        """Wait for the end of the command, and return what was not compared yet."""
        assert self.process is not None
        end = time.monotonic() + _SECONDS
        while self._read(0.1) or self.process.poll() is None:
            assert time.monotonic() < end, f"it does not end; it shows\n{self.text}"
        os.close(self._master)
        self.process = None
        rest = plain(self.text)[self._seen :]
        return rest if rest.endswith("\n") or not rest else f"{rest}\n"
