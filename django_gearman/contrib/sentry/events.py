"""
The events of jobs: their tags, and the data that is left out.

A failed job is one event. The library also logs the failure, and Sentry's logging integration would
make a second event of that record.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

import sentry_sdk

from ...jobs.definition import JobDefinition
from ...jobs.registry import registry
from ...serializers import Call
from ..store.redaction import redacted_call

_FILTERED = "[Filtered]"  # the text that Sentry's own scrubber writes

#: The exception of this run that was sent to Sentry.
reported: ContextVar[BaseException | None] = ContextVar("reported", default=None)


def tags(fields: dict[str, Any]) -> dict[str, str]:
    """Return the tags of a job, from the fields of its log records."""
    names = ("job", "queue", "attempt", "id")
    return {name: str(fields[f"gearman_{name}"]) for name in names if fields.get(f"gearman_{name}")}


def of_log_record(event: Any, hint: Any) -> Any:
    """Return an event of a log record with the tags of its job; None if it was sent already."""
    record = (hint or {}).get("log_record")
    fields = {} if record is None else vars(record)
    if record is None or not isinstance(fields.get("gearman_job"), str):
        return event
    error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
    if error is not None and error is reported.get():
        return None
    event["tags"] = {**tags(fields), **(event.get("tags") or {})}
    return without_arguments(event, registry.find(fields["gearman_job"]))


def of_run(event: Any, hint: Any, job: JobDefinition, call: Call) -> Any:
    """Return an event that was made in a run of a job, with the data of the call."""
    error = ((hint or {}).get("exc_info") or (None, None))[1]
    if error is not None and error is reported.get():
        for value in _exceptions(event)[-1:]:
            value["mechanism"] = {"type": "gearman", "handled": False}
    if _may_send_arguments():
        text, _ = redacted_call(job, call)
        event.setdefault("extra", {})["gearman-call"] = _loaded(text)
    return without_arguments(event, job)


def without_arguments(event: Any, job: JobDefinition | None) -> Any:
    """
    Delete the arguments of a job from the variables of an event's frames.

    The variables of this library's own frames are deleted with them.
    """
    hidden = _hidden_parameters(job)
    for value in _exceptions(event):
        for frame in (value.get("stacktrace") or {}).get("frames") or ():
            if str(frame.get("module")).partition(".")[0] == "django_gearman":
                frame.pop("vars", None)
            elif job is not None and hidden and _is_of(frame, job):
                variables = frame.get("vars") or {}
                frame["vars"] = {
                    name: _FILTERED if name in hidden else each for name, each in variables.items()
                }
    return event


def _may_send_arguments() -> bool:
    """Return Sentry's option for it: `data_collection["queues"]`, or send_default_pii before that."""
    client = sentry_sdk.get_client()
    chosen = client.options.get("data_collection")
    if isinstance(chosen, Mapping):
        return bool(chosen.get("queues"))
    return client.should_send_default_pii()


def _hidden_parameters(job: JobDefinition | None) -> set[str]:
    """Return the parameters whose values are not sent."""
    if job is None:
        return set()
    if not _may_send_arguments() or job.sensitive is True:
        return {*job.signature.parameters}
    return {*job.sensitive} if isinstance(job.sensitive, tuple) else set()


def _is_of(frame: Any, job: JobDefinition) -> bool:
    """Return True if a frame is a call of a job's function."""
    code = getattr(inspect.unwrap(job.func), "__code__", None)
    return code is not None and (frame.get("abs_path"), frame.get("function")) == (
        code.co_filename,
        code.co_name,
    )


def _exceptions(event: Any) -> list[Any]:
    return (event.get("exception") or {}).get("values") or []


def _loaded(text: str) -> Any:
    """Return a call as Sentry shows it best; it is not JSON if it was cut off."""
    try:
        return json.loads(text)
    except ValueError:
        return text or _FILTERED
