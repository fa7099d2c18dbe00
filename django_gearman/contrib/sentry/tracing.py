"""The middleware of the integration: an isolation scope and a transaction around each run."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any, Protocol

import sentry_sdk

from ...client.described import name_of, queue_of
from ...jobs.retries import RetryJob
from ...middleware import Middleware
from ...utils.guarding import guarded
from . import events

_ORIGIN = "auto.queue.gearman"
_TRACE, _BAGGAGE = "sentry-trace", "baggage"


class Choices(Protocol):
    """The choices of the integration."""

    report_retries: bool
    propagate_traces: bool


class SentryMiddleware(Middleware):
    """A middleware that does nothing where the current client has no integration."""

    def __init__(self, active: Callable[[], Choices | None]) -> None:
        self._active = active

    def around_submit(self, requests: list[Any], submit: Callable[[list[Any]], None]) -> None:
        stack = self._publishing(requests)
        try:
            submit(requests)
        finally:
            self._close(stack)

    async def around_asubmit(
        self, requests: list[Any], submit: Callable[[list[Any]], Awaitable[None]]
    ) -> None:
        stack = self._publishing(requests)
        try:
            await submit(requests)
        finally:
            self._close(stack)

    def around_run(self, run: Any, proceed: Callable[[], Any]) -> Any:
        opened = self._processing(run)
        if opened is None:
            return proceed()
        stack, span = opened
        try:
            ending = proceed()
            self._ended(span, ending)
        finally:
            self._close(stack)
        return ending

    async def around_arun(self, run: Any, proceed: Callable[[], Awaitable[Any]]) -> Any:
        opened = self._processing(run)
        if opened is None:
            return await proceed()
        stack, span = opened
        try:
            ending = await proceed()
            self._ended(span, ending)
        finally:
            self._close(stack)
        return ending

    @guarded
    def _close(self, stack: ExitStack | None) -> None:
        if stack is not None:
            stack.close()

    @guarded
    def _publishing(self, requests: list[Any]) -> ExitStack | None:
        choices = self._active()
        if choices is None or not requests:
            return None
        first = requests[0]
        with ExitStack() as stack:  # closed if anything fails before the end
            stack.enter_context(sentry_sdk.new_scope())  # tasks of one loop may share the scope
            name = name_of(first) if len(requests) == 1 else f"{len(requests)} jobs"
            span = stack.enter_context(
                sentry_sdk.start_span(op="queue.publish", name=name, origin=_ORIGIN)
            )
            about = {
                "messaging.system": "gearman",
                "messaging.destination.name": queue_of(first),
                "messaging.message.body.size": sum(len(r.spec.workload) for r in requests),
            }
            if len(requests) == 1:
                about["messaging.message.id"] = first.id
            for key, value in about.items():
                span.set_data(key, value)
            if choices.propagate_traces:
                _write(request.context for request in requests)
            return stack.pop_all()
        return None

    @guarded
    def _processing(self, run: Any) -> tuple[ExitStack, Any] | None:
        if self._active() is None:
            return None
        with ExitStack() as stack:
            scope = stack.enter_context(sentry_sdk.isolation_scope())
            scope.clear_breadcrumbs()
            scope.set_tags(events.tags(run.log_fields))
            scope.add_event_processor(partial(events.of_run, job=run.job, call=run.call))
            transaction = sentry_sdk.continue_trace(
                _read(run.context), op="queue.process", name=run.name, source="task", origin=_ORIGIN
            )
            about = {"name": run.name, "queue": run.queue, "attempt": run.attempt, "id": run.id}
            span = stack.enter_context(
                sentry_sdk.start_transaction(
                    transaction, custom_sampling_context={"gearman_job": about}
                )
            )
            for key, value in _about(run).items():
                span.set_data(key, value)
            opened = stack.pop_all()
        return opened, span

    @guarded
    def _ended(self, span: Any, ending: Any) -> None:
        error, choices = ending.exception, self._active()
        if error is None:
            span.set_status("ok")
        elif ending.state == "retried" and issubclass(type(error), RetryJob):
            span.set_status("aborted")  # as the SDK's integrations of other libraries do
        elif ending.state == "cancelled":
            span.set_status("cancelled")
        else:
            span.set_status("internal_error")
            is_final = ending.state == "failed"
            if is_final or (choices is not None and choices.report_retries):
                events.reported.set(error)
                sentry_sdk.capture_exception(error, level="error" if is_final else "warning")


def _about(run: Any) -> dict[str, Any]:
    """Return the data of the transaction."""
    found: dict[str, Any] = {
        "messaging.system": "gearman",
        "messaging.destination.name": run.queue,
        "messaging.message.id": run.id,
        "messaging.message.retry.count": run.attempt - 1,
        "messaging.message.body.size": len(run.assigned.workload),
    }
    enqueued_at = run.job_context.enqueued_at
    if enqueued_at is not None and run.attempt == 1:
        waited = max(0.0, time.time() - enqueued_at)
        found["messaging.message.receive.latency"] = round(waited * 1000)  # milliseconds
    return found


def _read(context: Mapping[str, Any]) -> dict[str, str]:
    """Return the trace in the context of a job; entries that are not text belong to the project."""
    found = {name: context.get(name) for name in (_TRACE, _BAGGAGE)}
    return {name: value for name, value in found.items() if isinstance(value, str)}


def _write(contexts: Iterable[dict[str, Any]]) -> None:
    """Write the current trace into the contexts of jobs; other entries of their baggage stay."""
    traceparent, own = sentry_sdk.get_traceparent(), sentry_sdk.get_baggage()
    for context in contexts:
        if traceparent and isinstance(context.get(_TRACE, ""), str):
            context[_TRACE] = traceparent
        others = context.get(_BAGGAGE, "")
        if isinstance(others, str):
            items = [each.strip() for each in others.split(",")]
            kept = [each for each in items if each and not each.startswith("sentry-")]
            if baggage := ",".join([*kept, *([own] if own else [])]):
                context[_BAGGAGE] = baggage
            else:
                context.pop(_BAGGAGE, None)
