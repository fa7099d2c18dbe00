"""
JSON output: each line that a worker process writes to stdout and stderr becomes a JSON object.

The formatter makes JSON of log records. Other output, from Django's system checks to the `print` of
a job, passes through a stream that makes JSON of each line. Output that bypasses Python's streams
stays plain: programs that a job starts, and faulthandler if the project enables it.
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

_LONGEST = 65536  # characters of an unfinished line
_OPTION = "--log-format"


class JSONLines:
    """A text stream that converts its lines to JSON; lines that are JSON already pass unchanged."""

    def __init__(self, stream: TextIO, name: str, level: str) -> None:
        self.stream = stream
        self._name = name
        self._level = level
        self._begun = threading.local()  # one unfinished line for each thread

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
        """Write the text of one call as one line."""
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
        self.stream.flush()  # whole lines, because other processes write there too


def _is_json(line: str) -> bool:
    if not (line.startswith("{") and line.endswith("}")):
        return False
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def wants_json(arguments: Sequence[str]) -> bool:
    """Return True if these program arguments start a worker with JSON output."""
    chosen = ""
    for given, following in zip(arguments, [*arguments[1:], ""], strict=False):
        name, equals, value = given.partition("=")
        if len(name) > len("--") and _OPTION.startswith(
            name
        ):  # argparse accepts abbreviations, too
            chosen = value if equals else following
    return "gearman_worker" in arguments and chosen == "json"


def write_lines_of_json() -> None:
    """Convert all further output of this process to lines of JSON."""
    if not isinstance(sys.stdout, JSONLines):
        sys.stdout = JSONLines(sys.stdout, "stdout", "INFO")
    if not isinstance(sys.stderr, JSONLines):
        sys.stderr = JSONLines(sys.stderr, "stderr", "ERROR")


def log_uncaught() -> None:
    """Log uncaught exceptions of each thread, instead of a plain traceback on stderr."""
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
    """Return the original stdout or stderr, for a handler with its own formatter."""
    stream = getattr(sys, name)
    return stream.stream if isinstance(stream, JSONLines) else stream


def is_console(stream: object) -> bool:
    """Return True if a stream is stdout or stderr of this process."""
    ours = {console_stream("stdout"), console_stream("stderr"), sys.__stdout__, sys.__stderr__}
    return stream in ours or isinstance(stream, JSONLines)
