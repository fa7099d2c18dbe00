"""Log records of jobs: which job they belong to, in every record, also of the project's own code."""

from __future__ import annotations

import datetime
import json
import logging

from .context import current_job

_FIELDS = ("gearman_job", "gearman_handle", "gearman_queue", "gearman_attempt")


class JobFilter(logging.Filter):
    """
    Adds the running job to each record of a handler that has this filter.

    The attributes are gearman_job (its name), gearman_handle, gearman_queue and gearman_attempt; ""
    outside of jobs.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        job = current_job()
        fields = job.log_fields if job is not None else dict.fromkeys(_FIELDS, "")
        for name, value in fields.items():
            if not hasattr(record, name):
                setattr(record, name, value)
        return True


class JSONFormatter(logging.Formatter):
    """Writes each record as one line of JSON: time, level, logger, process, message, and the job."""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        told = {
            "time": when.isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
        }
        for name in _FIELDS:
            if value := getattr(record, name, ""):
                told[name.removeprefix("gearman_")] = value
        if record.exc_info:
            told["traceback"] = self.formatException(record.exc_info)
        return json.dumps(told, default=str)


def show_logs(verbosity: int, format: str) -> None:  # noqa: A002 - as in the option's name
    """
    Write what the library logs to stderr, unless the project's LOGGING does something with it.

    The start and end of each job only if `verbosity` is above 1. With the format "json" each record
    is a line of JSON, and so is all that the project's own handlers of the root logger write.
    """
    logger = logging.getLogger("django_gearman")
    text = logging.Formatter("%(asctime)s %(process)d %(levelname)s %(message)s")
    if not logger.hasHandlers():
        logger.addHandler(logging.StreamHandler())
        logger.handlers[0].setFormatter(text)
        logger.setLevel(logging.DEBUG if verbosity > 1 else logging.INFO)
        if verbosity <= 1:
            logging.getLogger("django_gearman.jobs").setLevel(logging.WARNING)
    for handler in [*logger.handlers, *logging.getLogger().handlers]:
        handler.addFilter(JobFilter())
        if format == "json":
            handler.setFormatter(JSONFormatter())
