"""
The trace in the context of a job: `traceparent`, `tracestate` and `baggage`, or the entries of the
propagators that the project has chosen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry import context as contexts
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import Getter, TextMapPropagator


class _Entries(Getter[Mapping[str, Any]]):
    """The reader of the entries; one that is not a string belongs to the project."""

    def get(self, carrier: Mapping[str, Any], key: str) -> list[str] | None:
        value = carrier.get(key)
        return [value] if isinstance(value, str) else None

    def keys(self, carrier: Mapping[str, Any]) -> list[str]:
        return [*carrier]


_ENTRIES = _Entries()
_fields: tuple[TextMapPropagator | None, frozenset[str]] = None, frozenset()


def fields() -> frozenset[str]:
    """Return the keys of the entries that propagators write."""
    global _fields
    propagator = propagate.get_global_textmap()
    if _fields[0] is not propagator:
        _fields = propagator, frozenset(propagator.fields)
    return _fields[1]


def write(requests: list[Any], context: Context) -> None:
    """
    Write the span and the baggage of an OpenTelemetry context into the contexts of jobs.

    Entries that a job has inherited from the job that submits it are replaced, or deleted. Without
    a span, all of them stay, so that a process without an SDK passes them on.
    """
    entries: dict[str, str] = {}
    propagate.inject(entries, context)
    if not entries:
        return
    stale = fields() - entries.keys()
    for each in (request.context for request in requests):
        for name in stale:
            if isinstance(each.get(name), str):
                del each[name]
        for name, value in entries.items():
            if isinstance(each.get(name, ""), str):
                each[name] = value


def read(context: Mapping[str, Any]) -> tuple[Context, trace.SpanContext | None]:
    """
    Return the OpenTelemetry context with the span and the baggage in the context of a job.

    The second value is the span alone, or None if there is none.
    """
    if not context:
        return contexts.get_current(), None
    found = propagate.extract(context, getter=_ENTRIES)
    span = trace.get_current_span(found).get_span_context()
    return found, span if span.is_valid and span.is_remote else None
