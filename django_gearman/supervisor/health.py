"""Health reports: the time of a file, and messages to systemd."""

from __future__ import annotations

import os
import socket
import stat
import time
from contextlib import suppress
from pathlib import Path

from ..utils.records import get_logger
from ..utils.text import printable
from . import Status

logger = get_logger(__name__)

_TOUCH = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_TOUCH_SECONDS = 0.5  # least time between two
_KINDS = {
    stat.S_ISLNK: "a symbolic link",
    stat.S_ISDIR: "a directory",
    stat.S_ISFIFO: "a named pipe",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
    stat.S_ISSOCK: "a socket",
}


class Health:
    """
    A reporter of the supervisor's status, every second, to a file and to systemd.

    It touches `file` while every process serves. It sends to systemd, if asked to: READY when all
    processes serve for the first time, WATCHDOG while the supervisor lives, and STOPPING. An outage
    of the job servers does not stop WATCHDOG, because a restart would not help. See sd_notify(3).
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._began = time.monotonic()
        self._last_status = ""
        self._was_ready = False
        self._failed = False
        self._touched_at = 0.0
        self._watchdog_at = 0.0
        self._watchdog_seconds = _watchdog_seconds()

    def __call__(self, status: Status) -> None:
        now = time.monotonic()
        if status.is_ready and self._file is not None and now - self._touched_at >= _TOUCH_SECONDS:
            self._touched_at = now
            self._touch(self._file)
        message = str(status)
        if message != self._last_status:
            self._last_status = message
            notify("STOPPING=1" if status.is_stopping else "", f"STATUS={message}")
        if status.is_ready and not self._was_ready:
            self._was_ready = True
            logger.info("ready: %s, after %.1f s", message, now - self._began)
            notify("READY=1")
        if self._watchdog_seconds and now - self._watchdog_at >= self._watchdog_seconds:
            self._watchdog_at = now
            notify("WATCHDOG=1")

    def _touch(self, file: Path) -> None:
        try:
            descriptor = os.open(file, _TOUCH, 0o666)
            try:
                os.utime(descriptor)
            finally:
                os.close(descriptor)
            self._failed = False
        except OSError as error:
            if not self._failed:
                logger.error("--health-file: %s", error)
            self._failed = True

    def forget(self) -> None:
        """Remove the file, because no process serves now. A file of another program stays."""
        if self._file is not None:
            with suppress(OSError):
                found = self._file.lstat()
                if stat.S_ISREG(found.st_mode) and not found.st_size:
                    self._file.unlink()


def check_health_file(file: Path) -> None:
    """Raise ValueError unless a file can be created, touched and removed at this path."""
    trouble = ""
    try:
        found = file.lstat()
    except FileNotFoundError:
        if not os.access(file.absolute().parent, os.W_OK):
            trouble = "its directory does not exist, or cannot be written to"
    except OSError as error:
        trouble = str(error.strerror)
    else:
        kind = next((name for test, name in _KINDS.items() if test(found.st_mode)), "")
        if kind:
            trouble = f"it is {kind}. It was left unchanged"
        elif found.st_size:
            trouble = (
                f"it has {found.st_size} bytes, so it belongs to another program. It "
                "was left unchanged"
            )
        elif not os.access(file, os.W_OK) or not os.access(file.absolute().parent, os.W_OK):
            trouble = "this process cannot write and remove it"
    if trouble:
        raise ValueError(f"--health-file {file}: {trouble}. Name a file that only this worker uses")


def notify(*lines: str) -> None:
    """Send lines to systemd, if systemd has started this process and asks for them."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return
    text = "\n".join(printable(line) for line in lines if line)
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.sendto(text.encode(), "\0" + address[1:] if address[0] == "@" else address)


def _watchdog_seconds() -> float:
    """
    Return a quarter of the interval in which systemd expects a message of the main process; 0 for
    never.
    """
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 4e6 if microseconds.isdigit() else 0.0
