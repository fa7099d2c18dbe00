"""
The library's loggers.

Records contain text of job servers, clients and jobs, and many logs are lines of text. So each
record is escaped before any handler gets it, with any formatter.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextvars import ContextVar

from .interrupts import brief
from .text import LIMIT, kind_of, printable_lines, repr_of, str_of

#: Put before each line of a traceback, so that no line looks like a record.
MARGIN = "  | "

_MOST_ERRORS = 100  # exceptions of a chain or a group that are formatted


def get_logger(name: str) -> logging.Logger:
    """
    Return the logger of this name; it escapes its records, so that no text can forge a record.
    """
    logger = logging.getLogger(name)
    logger.addFilter(make_safe)  # the same filter is added only once
    return logger


def make_safe(record: logging.LogRecord) -> bool:
    """
    Escape the arguments of a record, and its traceback.

    Formatters write `exc_text` if a record has it. `exc_info` stays for error reporters, unless the
    exception cannot be formatted.
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
    Log a record, and never raise.

    A handler or filter that raises must not end a worker, and the other handlers still get the
    record.
    """
    if not logger.isEnabledFor(level):
        return
    try:
        logger.log(level, message, *args, exc_info=exc_info, extra=extra, stacklevel=2)
    except BaseException as error:  # noqa: BLE001 - it may be sys.exit()
        message += "; a log handler or filter raised %r"
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
    """Pass a record to a handler; return False if the handler raised."""
    try:
        return record.levelno >= handler.level and bool(handler.handle(record))
    except BaseException:  # noqa: BLE001 - `log` records it elsewhere
        return False


class _Shown:
    """A foreign object in a record: its text is escaped, and reading it never fails."""

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
    """
    Return the traceback of an exception with escapes; errors while reading it become part of the
    text.
    """
    return with_margin(format_error(error)[0], margin)


def with_margin(text: str, margin: str) -> str:
    return "\n".join(margin + line for line in printable_lines(text))


_Formatted = tuple[BaseException, tuple[str, bool]]
_formatted: ContextVar[dict[int, _Formatted] | None] = ContextVar("formatted", default=None)


def format_errors_once() -> None:
    """
    Keep the text of each exception that is formatted in this context, and in copies of it.

    The error of a job is formatted for the log, for its client and for its record, and that takes
    longer than a short job. The context of the run, and with it the texts, ends soon.
    """
    if _formatted.get() is None:
        _formatted.set({})


def format_error(error: BaseException) -> tuple[str, bool]:
    """
    Return the traceback of an exception with its causes, and True if it is complete.

    If the exception cannot be formatted, or has a very long chain or group, return only its own
    traceback.
    """
    kept = _formatted.get()
    if kept is None:
        return _format_error(error)
    found = kept.get(id(error))
    if found is None:
        found = kept[id(error)] = error, _format_error(error)
    return found[1]


def _format_error(error: BaseException) -> tuple[str, bool]:
    try:
        if _is_moderate(error):
            return "".join(traceback.format_exception(error)), True
        own = traceback.format_tb(error.__traceback__)
    except BaseException:  # noqa: BLE001 - the exception is not ours
        own = []
    return "".join([*own, f"{kind_of(error)}: {str_of(error)}"]), False


def _is_moderate(error: BaseException) -> bool:
    """Return True if an exception can be formatted: its chain and groups are not too long."""
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
