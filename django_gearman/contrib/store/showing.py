"""The arguments, the context and the result of a record, for people: without secrets."""

from __future__ import annotations

import json
from typing import Any

from ...jobs.registry import registry
from ...serializers import Call
from ...utils.text import kind_of, printable, printable_lines, repr_of, str_of
from .models import JobRecord
from .reading import serializer_of
from .redaction import Redactor, redacted_values

_NOT_KEPT = "(not kept)"
_LONGEST_VALUE = 10_000  # characters


def arguments_of(record: JobRecord) -> str:
    """
    Return the arguments of a job in one line, as in a call.

    Secrets are replaced when a record is written; they are once more, for the case that a parameter
    is declared as sensitive by now.
    """
    job = registry.find(record.name)
    if not record.call or (job is not None and job.sensitive is True):
        return _NOT_KEPT
    try:
        call = json.loads(record.call)
        args, kwargs, _ = redacted_values(job, Call((*call["args"],), {**call["kwargs"]}))
    except Exception:  # noqa: BLE001 - somebody has changed it, or it was too long
        return printable(record.call)
    return ", ".join(
        [*map(_json, args), *(f"{name}={_json(each)}" for name, each in kwargs.items())]
    )


def context_of(record: JobRecord) -> list[tuple[str, str]]:
    """Return the names and the values of a job's context."""
    context = record.context
    if not isinstance(context, dict):
        return [("", str_of(context))] if context else []
    find = Redactor(None)
    return [(str_of(name), _json(find.redact(value, name))) for name, value in context.items()]


def result_of(record: JobRecord) -> str:
    """Return the result of a job in lines, without secrets; "" if none is kept."""
    if record.result is None:
        return ""
    job = registry.find(record.name)
    if job is not None and job.sensitive is True:
        return _NOT_KEPT
    try:
        serializer = serializer_of(record.name, record.function, record.backend)
        value = serializer.loads_result(bytes(record.result))
    except Exception as error:  # noqa: BLE001 - it may be damaged, or run code of the project
        return f"(it cannot be shown: {kind_of(error)}: {str_of(error)})"
    return "\n".join(printable_lines(_json(Redactor(None).redact(value), 2), _LONGEST_VALUE))


def raw_arguments_of(record: JobRecord) -> str:
    """Return the arguments as they were sent, with all secrets."""
    if record.workload is None:
        return _NOT_KEPT
    workload = bytes(record.workload)
    try:
        call = serializer_of(record.name, record.function, record.backend).loads_call(workload)
        shown = [repr_of(value) for value in call.args]
        shown += [f"{str_of(name)}={repr_of(value)}" for name, value in call.kwargs.items()]
    except Exception:  # noqa: BLE001 - it may be damaged, or run code of the project
        return repr_of(workload, _LONGEST_VALUE)
    return ", ".join(shown)


def _json(value: Any, indent: int | None = None) -> str:
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return text if indent else printable(text)
