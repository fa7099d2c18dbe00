"""Log records of a worker on a terminal: short lines for people, in columns and colours."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from ..jobs.registry import registry
from ..logs import TextFormatter
from ..utils.text import kind_of, printable, str_of
from .tables import keep_end, width_of

_MOST_NAME = 30  # characters of a job's name
_STATES = {
    "started": "started",
    "succeeded": "done",
    "retried": "RETRY",
    "cancelled": "CANCEL",
    "failed": "FAILED",
}
_STYLES = {
    "succeeded": "SUCCESS",
    "retried": "WARNING",
    "cancelled": "WARNING",
    "failed": "ERROR",
}

_process = ""  # the worker process that this is, for its records


def name_process(slot: str) -> None:
    """Note the supervisor's slot of this process, like "worker images 2"."""
    global _process
    words = printable(slot).split()
    _process = f"[{' '.join(words[1:-1])} #{words[-1]}]".replace("[ ", "[") if words[1:] else ""


class TerminalFormatter(TextFormatter):
    """A formatter for a terminal of this width; `style` is one of Django's."""

    def __init__(self, style: Any, width: Callable[[], int]) -> None:
        super().__init__()
        self._paint: dict[str | int, Callable[[str], str]] = {
            **{state: getattr(style, name) for state, name in _STYLES.items()},
            logging.WARNING: style.WARNING,
            logging.ERROR: style.ERROR,
            logging.CRITICAL: style.ERROR,
        }
        self._width = width
        names = [width_of(printable(job.name)) for job in registry.jobs()]
        self._name = min(_MOST_NAME, max(names, default=0))

    def format(self, record: logging.LogRecord) -> str:
        if getattr(record, "gearman_state", "") == "retried":  # the last failure has a traceback
            record.message = record.getMessage()
            return self.formatMessage(record)
        return super().format(record)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - as logging has it
        state = getattr(record, "gearman_state", "")
        if state in _STATES:
            text = self._job_line(record, state)
            key: str | int = state
        else:
            level = f"{record.levelname}: " if record.levelno >= logging.WARNING else ""
            text, key = f"{level}{record.message}", record.levelno
        text = f"{time.strftime('%H:%M:%S', time.localtime(record.created))} {printable(text)}"
        if _process:
            room = self._width() - width_of(_process)
            space = " " * max(2, room - width_of(text))
            text = f"{text}{space}{_process}"
        paint = self._paint.get(key)
        return paint(text) if paint is not None else text

    def _job_line(self, record: logging.LogRecord, state: str) -> str:
        name = keep_end(printable(getattr(record, "gearman_job", "")), self._name)
        name += " " * (self._name - width_of(name))
        return f"{name}  {_STATES[state]:7}  {_details(record, state)}".rstrip()


def _details(record: logging.LogRecord, state: str) -> str:
    attempt = getattr(record, "gearman_attempt", 1)
    if state == "started":
        return f"attempt {attempt}" if attempt != 1 else ""
    if state == "succeeded":
        return f"{_duration(getattr(record, 'gearman_seconds', 0.0))}"
    error = record.exc_info[1] if record.exc_info else None
    text = "" if error is None else f"{kind_of(error)}: {str_of(error, 200)}; "
    job = registry.find(getattr(record, "gearman_job", ""))
    most = f" of {job.retries + 1}" if job is not None and job.retries is not None else ""
    text += f"attempt {attempt}{most}"
    if state == "retried":
        delay = getattr(record, "gearman_delay", 0.0)
        text += f", again in {_duration(delay)}" if delay else ", again at once"
    return text


def _duration(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.3g} s"
    return f"{seconds * 1000:{'.0f' if seconds >= 0.01 else '.2g'}} ms"
