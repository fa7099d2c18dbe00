"""
The library's loggers.

What is logged comes from job servers, clients and jobs, and many a log is lines of text. So each
record is made safe before any handler sees it, whatever formatter the project has.
"""

from __future__ import annotations

import logging
import traceback

from .text import LIMIT, printable_lines, repr_of, str_of

#: Before each line of a traceback, so that none looks like a record of its own.
MARGIN = "  | "


def get_logger(name: str) -> logging.Logger:
    """Return the logger of this name, whose records cannot be forged by what they tell."""
    logger = logging.getLogger(name)
    logger.addFilter(make_safe)  # once: the same filter is not added again
    return logger


def make_safe(record: logging.LogRecord) -> bool:
    """
    Make the arguments of a record printable, and its traceback too.

    Formatters write `exc_text` where a record has it. `exc_info` stays, for error reporters.
    """
    if isinstance(record.args, tuple):
        record.args = tuple(_safe(value) for value in record.args)
    if record.exc_info and record.exc_info[1] is not None and not record.exc_text:
        record.exc_text = traceback_of(record.exc_info[1], MARGIN)
    return True


class _Shown:
    """An object of other people in a record: what it says of itself is printable, and never fails."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __str__(self) -> str:
        return str_of(self._value)

    def __repr__(self) -> str:
        return repr_of(self._value)


def _safe(value: object) -> object:
    if value is None or type(value) in (int, float, bool, _Shown):
        return value
    if type(value) is str and len(value) <= LIMIT and value.isprintable():
        return value
    return _Shown(value)


def traceback_of(error: BaseException, margin: str = "") -> str:
    """Return the traceback of an exception, each line printable; what fails is told instead."""
    try:
        text = "".join(traceback.format_exception(error))
    except (Exception, SystemExit, KeyboardInterrupt):  # noqa: BLE001 - the exception is not ours
        text = "".join(traceback.format_tb(error.__traceback__)) + type(error).__qualname__
    return "\n".join(margin + line for line in printable_lines(text))
