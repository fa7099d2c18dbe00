"""
The library's loggers.

What is logged comes from job servers, clients and jobs, and many a log is lines of text. So each
record is made safe before any handler sees it, whatever formatter the project has.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator, Mapping

from .interrupts import brief
from .text import LIMIT, kind_of, printable_lines, repr_of, str_of

#: Before each line of a traceback, so that none looks like a record of its own.
MARGIN = "  | "

_MOST_ERRORS = 100  # of a chain or a group, that are formatted


def get_logger(name: str) -> logging.Logger:
    """Return the logger of this name, whose records cannot be forged by what they tell."""
    logger = logging.getLogger(name)
    logger.addFilter(make_safe)  # once: the same filter is not added again
    return logger


def make_safe(record: logging.LogRecord) -> bool:
    """
    Make the arguments of a record printable, and its traceback too.

    Formatters write `exc_text` where a record has it. `exc_info` stays, for error reporters, unless
    the exception is one that cannot be formatted.
    """
    if isinstance(record.args, tuple):
        record.args = tuple(_safe(value) for value in record.args)
    if record.exc_info and record.exc_info[1] is not None and not record.exc_text:
        text, is_whole = format_error(record.exc_info[1])
        record.exc_text = with_margin(text, MARGIN)
        if not is_whole:
            record.exc_info = None
    return True


@brief
def log(
    logger: logging.Logger,
    level: int,
    message: str,
    *args: object,
    exc_info: BaseException | None = None,
    extra: Mapping[str, object] | None = None,
) -> None:
    """
    Make a record, and never raise.

    A handler or filter that raises must not end a worker, nor keep the record from the others.
    """
    if not logger.isEnabledFor(level):
        return
    try:
        logger.log(level, message, *args, exc_info=exc_info, extra=extra, stacklevel=2)
    except BaseException as error:  # noqa: BLE001 - it may be sys.exit()
        message += "; a log handler or filter has raised %r"
        record = logger.makeRecord(
            logger.name, level, __file__, 0, message, (*args, error), None, extra=extra
        )
        make_safe(record)
        taken = [_hand(record, handler) for handler in _handlers(logger)]
        if not any(taken):
            print(record.getMessage(), file=sys.stderr)


def _handlers(logger: logging.Logger) -> Iterator[logging.Handler]:
    current: logging.Logger | None = logger
    while current is not None:
        yield from current.handlers
        current = current.parent if current.propagate else None


def _hand(record: logging.LogRecord, handler: logging.Handler) -> bool:
    """Give a record to a handler; answer whether that could be done."""
    try:
        return record.levelno >= handler.level and bool(handler.handle(record))
    except BaseException:  # noqa: BLE001 - `log` tells the record somewhere else
        return False


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
    return with_margin(format_error(error)[0], margin)


def with_margin(text: str, margin: str) -> str:
    return "\n".join(margin + line for line in printable_lines(text))


def format_error(error: BaseException) -> tuple[str, bool]:
    """
    Return the traceback of an exception, with those that led to it, and whether it is the whole.

    Of one that cannot be formatted, or is a chain or group of very many, only its own is there.
    """
    try:
        if _is_moderate(error):
            return "".join(traceback.format_exception(error)), True
        own = traceback.format_tb(error.__traceback__)
    except BaseException:  # noqa: BLE001 - the exception is not ours
        own = []
    return "".join([*own, f"{kind_of(error)}: {str_of(error)}"]), False


def _is_moderate(error: BaseException) -> bool:
    """Whether an exception can be formatted: its chain and its groups hold no more than some."""
    found, ahead = set[int](), [error]
    while ahead:
        each = ahead.pop()
        if id(each) in found:
            continue
        found.add(id(each))
        if len(found) > _MOST_ERRORS:
            return False
        grouped = each.exceptions if isinstance(each, BaseExceptionGroup) else ()
        ahead += [one for one in (each.__cause__, each.__context__, *grouped) if one is not None]
    return True
