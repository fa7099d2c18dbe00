"""
Standard streams that neither end the work of a process nor hold it up.

What is written waits for a moment where the reader of a pipe is slow, and is dropped where it does not
read at all, is gone, or the disk is full. A closed stream is the null device: otherwise the next file
or socket that is opened would get its number, and what a program of a job prints.
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

#: Seconds for which a write waits, once, for a reader that does not read.
PATIENCE_SECONDS = 1.0

_PIPE_BYTES = 4096  # for which a pipe that can be written to has room


def protect_streams() -> None:
    """Have stdout and stderr of this process never raise, and never wait for long."""
    closed = [descriptor for descriptor in (0, 1, 2) if not _is_open(descriptor)]
    for descriptor in closed:  # in their order: each gets the lowest number that is free
        os.open(os.devnull, os.O_RDWR)
        os.set_inheritable(descriptor, True)
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        old = getattr(sys, name)
        if _is_usual(old, descriptor):
            if old is None and descriptor not in closed:  # something else has got its number
                descriptor = os.open(os.devnull, os.O_WRONLY)
            new = _protected(old, name, descriptor)
            setattr(sys, name, new)
            for handler in _stream_handlers():
                if handler.stream is old:
                    handler.stream = new


def has_room(descriptor: int, seconds: float = 0.0) -> bool:
    """Whether something can be written without waiting for longer than this."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(seconds * 1000))


class _PatientFile(io.RawIOBase):
    """A descriptor to which writing always seems to succeed."""

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
        except OSError:  # the reader is gone, or the disk full
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
    """Whether a stream is as Python has made it, for this descriptor; None if that was closed."""
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
    # Unbuffered if that was: python -u
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
