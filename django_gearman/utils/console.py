"""
What a worker writes to stdout and stderr, as lines of JSON, whoever in its process writes it.

Log records are JSON by their formatter. The rest, from Django's system checks to the `print` of a
job, passes through a stream that makes a line of JSON of it. What does not pass through Python's
streams stays as it is: faulthandler's tracebacks, and programs that a job starts.
"""

from __future__ import annotations

import datetime
import json
import os
import sys
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any, TextIO

from .records import get_logger

logger = get_logger(__name__)

_LONGEST = 65536  # characters of a line that does not end
_OPTION = "--log-format"


class JSONLines:
    """A stream of text whose lines become JSON; those that are, as log records, pass unchanged."""

    def __init__(self, stream: TextIO, name: str, level: str) -> None:
        self.stream = stream
        self._name = name
        self._level = level
        self._begun = threading.local()  # a line of each thread

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        whole, newline, rest = (self._rest + text).rpartition("\n")
        if len(rest) > _LONGEST:
            whole, newline, rest = whole + newline + rest, "\n", ""
        self._begun.rest = rest
        if newline:
            self._put(whole)
        return len(text)

    def writelines(self, lines: Sequence[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        rest, self._begun.rest = self._rest, ""
        self._put(rest)
        self.stream.flush()

    def isatty(self) -> bool:
        return False

    @property
    def _rest(self) -> str:
        return getattr(self._begun, "rest", "")

    def _put(self, text: str) -> None:
        """Write what was written at once as one line."""
        if not text.strip():
            return
        if not all(map(_is_json, text.split("\n"))):
            now = datetime.datetime.now(datetime.UTC)
            text = json.dumps(
                {
                    "time": now.isoformat(timespec="milliseconds"),
                    "level": self._level,
                    "logger": self._name,
                    "process": os.getpid(),
                    "message": text.encode(errors="backslashreplace").decode(),
                }
            )
        self.stream.write(text + "\n")
        self.stream.flush()  # whole lines, beside those of other processes


def _is_json(line: str) -> bool:
    if not (line.startswith("{") and line.endswith("}")):
        return False
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether these arguments of a program start a worker whose output is to be JSON."""
    chosen = ""
    for given, following in zip(arguments, [*arguments[1:], ""], strict=False):
        name, equals, value = given.partition("=")
        if len(name) > len("--") and _OPTION.startswith(name):  # argparse takes a part of it, too
            chosen = value if equals else following
    return "gearman_worker" in arguments and chosen == "json"


def write_lines_of_json() -> None:
    """Turn all that this process will write into lines of JSON."""
    if not isinstance(sys.stdout, JSONLines):
        sys.stdout = JSONLines(sys.stdout, "stdout", "INFO")
    if not isinstance(sys.stderr, JSONLines):
        sys.stderr = JSONLines(sys.stderr, "stderr", "ERROR")


def log_uncaught() -> None:
    """Have uncaught exceptions logged, in each thread, in place of a plain traceback on stderr."""
    sys.excepthook = _on_uncaught
    sys.unraisablehook = _on_unraisable
    threading.excepthook = _on_uncaught_in_thread


def _on_uncaught(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    logger.critical("uncaught exception: %r", error, exc_info=(kind, error, traceback))


def _on_uncaught_in_thread(about: threading.ExceptHookArgs) -> None:
    error = about.exc_value
    if error is not None and not isinstance(error, SystemExit):
        name = about.thread.name if about.thread is not None else "that has ended"
        logger.error("uncaught exception in thread %s: %r", name, error, exc_info=error)


def _on_unraisable(about: Any) -> None:
    what = about.err_msg or "exception ignored in"
    logger.error("%s %r: %r", what, about.object, about.exc_value, exc_info=about.exc_value)


def console_stream(name: str) -> Any:
    """Return stdout or stderr as it is, for a handler whose formatter sees to its lines."""
    stream = getattr(sys, name)
    return stream.stream if isinstance(stream, JSONLines) else stream


def is_console(stream: object) -> bool:
    """Whether a stream is stdout or stderr of this process."""
    ours = {console_stream("stdout"), console_stream("stderr"), sys.__stdout__, sys.__stderr__}
    return stream in ours or isinstance(stream, JSONLines)
