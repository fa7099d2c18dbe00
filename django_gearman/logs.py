"""Log records with the job that they belong to, also for the project's own records."""

from __future__ import annotations

import datetime
import json
import logging
from collections.abc import Iterator

from .jobs.context import current_job
from .utils.console import console_stream, is_console, log_uncaught, write_lines_of_json
from .utils.records import MARGIN, get_logger, make_safe, traceback_of
from .utils.text import printable, str_of

_FIELDS = ("gearman_job", "gearman_id", "gearman_handle", "gearman_queue", "gearman_attempt")
_LONGEST = 100_000  # characters of a message or traceback
_MOST = 2**63  # fields that other programs read as numbers


class JobFilter(logging.Filter):
    """
    Adds the running job to each record of a handler that has this filter.

    The attributes are gearman_job (its name), gearman_id, gearman_handle, gearman_queue and
    gearman_attempt; "" outside of jobs.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        job = current_job()
        fields = job.log_fields if job is not None else dict.fromkeys(_FIELDS, "")
        for name, value in fields.items():
            if not hasattr(record, name):
                setattr(record, name, value)
        return True


class TextFormatter(logging.Formatter):
    """A formatter that writes each record as one line of text, and its traceback below."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - as logging has it
        return printable(super().formatMessage(record), _LONGEST)

    def formatException(self, ei: object) -> str:  # noqa: N802
        error = ei[1] if isinstance(ei, tuple) else None
        return traceback_of(error, MARGIN) if isinstance(error, BaseException) else ""


class JSONFormatter(logging.Formatter):
    """A formatter that writes each record as one line of JSON, with the fields of the job."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = {
            "time": _time_of(record),
            "level": record.levelname,
            "logger": record.name,
            "process": record.process,
            "message": _message_of(record),
        }
        for name in _FIELDS:
            value = getattr(record, name, None)
            if value is not None and not (isinstance(value, str) and not value):
                fields[name.removeprefix("gearman_")] = value
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        if error is not None:
            fields["traceback"] = traceback_of(error)
        elif isinstance(record.exc_text, str):
            fields["traceback"] = record.exc_text
        return json.dumps({name: _jsonable(value) for name, value in fields.items()})


def _time_of(record: logging.LogRecord) -> str:
    try:
        when = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        return when.isoformat(timespec="milliseconds")
    except (OSError, OverflowError, TypeError, ValueError):
        return str_of(record.created)


def _message_of(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:  # noqa: BLE001 - arguments that do not fit are the caller's
        return f"{str_of(record.msg)} {str_of(record.args)} ({str_of(error)})"


def _jsonable(value: object) -> object:
    if value is None or type(value) is bool:
        return value
    if type(value) is int and -_MOST <= value < _MOST:
        return value
    if type(value) is not str:
        return str_of(value)
    if len(value) > _LONGEST:
        value = f"{value[:_LONGEST]}... ({len(value)} characters)"
    return value if value.isascii() else value.encode(errors="backslashreplace").decode()


_job_filter = JobFilter()


def show_logs(
    verbosity: int,
    format: str,  # noqa: A002 - as in the option's name
    terminal: logging.Formatter | None = None,
) -> bool:
    """
    Write the library's log records to stderr, unless the project's LOGGING handles them.

    Records about the start and end of a job need a `verbosity` above 1. A `verbosity` of 0 shows
    warnings and errors only. With the format "json", each record is a line of JSON. The project's
    own handlers for stdout and stderr, and the root logger's, then write JSON too.

    If the user reads stderr on a terminal, `terminal` is the formatter for that. It shows the start
    and end of each job at a `verbosity` of 1, too. Returns False if the project's LOGGING handles
    the records.
    """
    logger = logging.getLogger("django_gearman")
    if is_ours := not logger.hasHandlers():
        own = logging.StreamHandler(console_stream("stderr"))
        plain = TextFormatter("%(asctime)s %(process)d %(levelname)s %(message)s")
        own.setFormatter(terminal or plain)
        logger.addHandler(own)
        levels = [logging.WARNING, logging.INFO, logging.DEBUG]
        logger.setLevel(levels[min(max(verbosity, 0), 2)])
        if verbosity <= (1 if terminal is None else 0):
            logging.getLogger("django_gearman.jobs").setLevel(logging.WARNING)
    for handler in [*logger.handlers, *logging.getLogger().handlers]:
        handler.addFilter(_make_ours_safe)
        handler.addFilter(_job_filter)
    get_logger("django.dispatch")  # reports exceptions of signal receivers
    if logging.lastResort is not None:  # for loggers without any handler
        logging.lastResort.setFormatter(TextFormatter("%(message)s"))
    log_uncaught()
    if format == "json":
        write_json()
    return is_ours


def write_json() -> None:
    """Make everything that this process writes to stdout and stderr lines of JSON, from now on."""
    write_lines_of_json()
    log_uncaught()
    warnings = logging.getLogger("py.warnings")
    logging.captureWarnings(True)
    if not warnings.hasHandlers():
        warnings.addHandler(logging.StreamHandler(console_stream("stderr")))
    for handler in _shown_handlers():
        handler.addFilter(_job_filter)
        handler.setFormatter(JSONFormatter())


def _shown_handlers() -> Iterator[logging.Handler]:
    root = logging.getLogger()
    if logging.lastResort is not None:
        yield logging.lastResort
    yield from root.handlers
    yield from logging.getLogger("django_gearman").handlers
    for logger in list(root.manager.loggerDict.values()):
        for handler in logger.handlers if isinstance(logger, logging.Logger) else ():
            if isinstance(handler, logging.StreamHandler) and is_console(handler.stream):
                yield handler


def _make_ours_safe(record: logging.LogRecord) -> bool:
    """Escape records in these handlers, for loggers that do not escape them."""
    return not record.name.startswith("django_gearman.") or make_safe(record)
