"""
Standard streams that neither end nor block a process.

If the reader of a pipe is slow, a write waits for a moment. If the pipe has no reader, the reader
does not read, or the disk is full, the output is dropped. A closed stream becomes the null device.
Otherwise the next file or socket would get its number, and then the output of a program that a job
starts.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import select
import stat
import sys
from collections.abc import Iterator
from typing import TextIO

#: Seconds that a write waits, once, for a reader that does not read.
PATIENCE_SECONDS = 1.0

_PIPE_BYTES = 4096  # that a writable pipe has room for


def protect_streams() -> None:
    """
    Replace stdout and stderr of this process by streams that never raise and never block for long.
    """
    closed = [descriptor for descriptor in (0, 1, 2) if not _is_open(descriptor)]
    for descriptor in closed:  # in order: each gets the lowest free number
        os.open(os.devnull, os.O_RDWR)
        os.set_inheritable(descriptor, True)
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        old = getattr(sys, name)
        if _is_usual(old, descriptor):
            if old is None and descriptor not in closed:  # another file has its number
                descriptor = os.open(os.devnull, os.O_WRONLY)
            new = _protected(old, name, descriptor)
            setattr(sys, name, new)
            for handler in _stream_handlers():
                if handler.stream is old:
                    handler.stream = new


def has_room(descriptor: int, seconds: float = 0.0) -> bool:
    """Return True if a write would not wait for longer than this."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(seconds * 1000))


class _PatientFile(io.RawIOBase):
    """A file descriptor to which every write appears to succeed."""

    def __init__(self, descriptor: int, name: str) -> None:
        self._descriptor = descriptor
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        self._step = sys.maxsize if is_file else _PIPE_BYTES
        self._is_stuck = False
        self._is_broken = False  # in the middle of a line
        self.name = f"<{name}>"

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:  # type: ignore[no-untyped-def] # any buffer
        size = len(left := memoryview(data).cast("B"))
        try:
            if self._is_broken and self._has_room():
                self._is_broken = os.write(self._descriptor, b"\n") == 0
            while left and self._has_room():
                left = left[os.write(self._descriptor, left[: self._step]) :]
        except OSError:  # the reader has ended, or the disk is full
            self._is_broken = False
        else:
            self._is_broken = self._is_broken or 0 < len(left) < size
        return size

    def _has_room(self) -> bool:
        self._is_stuck = not has_room(self._descriptor, 0.0 if self._is_stuck else PATIENCE_SECONDS)
        return not self._is_stuck


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _is_usual(stream: object, descriptor: int) -> bool:
    """
    Return True if a stream is the original one of Python for this descriptor, or None if that was
    closed.
    """
    if stream is None:
        return True
    try:
        return isinstance(stream, io.TextIOWrapper) and stream.fileno() == descriptor
    except (OSError, ValueError):
        return False


def _protected(old: TextIO | None, name: str, descriptor: int) -> TextIO:
    raw = _PatientFile(descriptor, name)
    if not isinstance(old, io.TextIOWrapper):
        return io.TextIOWrapper(io.BufferedWriter(raw), "utf-8", "backslashreplace", "\n", True)
    with contextlib.suppress(OSError, ValueError):
        old.flush()
    # Unbuffered if the old one was: python -u
    buffer = raw if old.write_through else io.BufferedWriter(raw)
    return io.TextIOWrapper(
        buffer,
        encoding=old.encoding,
        errors=old.errors,
        newline="\n",
        line_buffering=old.line_buffering,
        write_through=old.write_through,
    )


def _stream_handlers() -> Iterator[logging.StreamHandler[TextIO]]:
    loggers = [logging.getLogger(), *logging.getLogger().manager.loggerDict.values()]
    for logger in loggers:
        for handler in logger.handlers if isinstance(logger, logging.Logger) else ():
            if isinstance(handler, logging.StreamHandler):
                yield handler
