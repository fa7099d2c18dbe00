"""The middleware: a span around each submission, and one around each run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter
from typing import Any

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, TracerProvider

from ... import __version__, conf
from ...client.described import name_of, queue_of
from ...jobs.retries import RetryJob
from ...middleware import Middleware
from ...protocol.names import server_of
from ...utils.guarding import guarded
from . import names, propagation
from .metrics import Instruments


class OpenTelemetryMiddleware(Middleware):
    """
    A middleware that traces and measures jobs by OpenTelemetry.

    The span of a run is a child of its submission's span if a client waits for the job. Otherwise it
    begins a trace of its own, with a link to that span; so do retries. With GEARMAN_OTEL_PARENT it
    is always a child. The providers are the global ones, unless others are given.
    """

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        conf.otel_parent()
        self._tracer = trace.get_tracer("django_gearman", __version__, tracer_provider)
        self._instruments = Instruments(meter_provider)

    def around_submit(self, requests: list[Any], submit: Callable[[list[Any]], None]) -> None:
        opened = self._open_submission(requests)
        try:
            submit(requests)
        except BaseException as error:
            self._end_submission(opened, requests, error)
            raise
        self._end_submission(opened, requests, None)

    async def around_asubmit(
        self, requests: list[Any], submit: Callable[[list[Any]], Awaitable[None]]
    ) -> None:
        opened = self._open_submission(requests)
        try:
            await submit(requests)
        except BaseException as error:
            self._end_submission(opened, requests, error)
            raise
        self._end_submission(opened, requests, None)

    def around_run(self, run: Any, proceed: Callable[[], Any]) -> Any:
        opened = self._open_run(run)
        try:
            ending = proceed()
        except BaseException as error:
            self._end_run(opened, error)
            raise
        self._end_run(opened, _error_of(ending))
        return ending

    async def around_arun(self, run: Any, proceed: Callable[[], Awaitable[Any]]) -> Any:
        opened = self._open_run(run)
        try:
            ending = await proceed()
        except BaseException as error:
            self._end_run(opened, error)
            raise
        self._end_run(opened, _error_of(ending))
        return ending

    # Each of these does nothing, and returns None, if tracing fails.

    @guarded
    def _open_submission(self, requests: list[Any]) -> _Opened:
        queue = _common_queue(requests)
        span = self._tracer.start_span(
            f"send {queue}" if queue else "send",
            kind=SpanKind.PRODUCER,
            attributes=names.operation("send", queue),
        )
        context = trace.set_span_in_context(span)
        propagation.write(requests, context)
        return _Opened(span, context, queue)

    @guarded
    def _end_submission(
        self, opened: _Opened | None, requests: list[Any], error: BaseException | None
    ) -> None:
        if opened is None:
            return
        first = requests[0] if len(requests) == 1 else None
        if error is None:
            refused = (each.exception for each in requests if each.exception is not None)
            error = next(refused, None)
        kind, seconds = opened.end(error, lambda: _about(first, len(requests)))
        if opened.queue and not kind:
            self._instruments.sent(opened.queue, "", len(requests))
        else:
            for (queue, own), number in _kinds(requests, kind).items():
                self._instruments.sent(queue, own, number)
        self._instruments.submitted(opened.queue, kind, seconds)

    @guarded
    def _open_run(self, run: Any) -> _Opened:
        links = None
        context, sender = propagation.read(run.call.context)
        if sender is not None and not _is_child(run):
            links = [Link(sender)]
            context = trace.set_span_in_context(trace.get_current_span(), context)
        queue = run.queue
        span = self._tracer.start_span(
            f"process {queue}",
            context,
            kind=SpanKind.CONSUMER,
            attributes=names.operation("process", queue, server=server_of(run.handle)),
            links=links,
        )
        if span.is_recording():
            about = {names.JOB: run.name, names.ATTEMPT: run.attempt}
            span.set_attributes({**about, names.MESSAGE_ID: run.identity.id})
        return _Opened(span, trace.set_span_in_context(span, context), queue)

    @guarded
    def _end_run(self, opened: _Opened | None, error: BaseException | None) -> None:
        if opened is not None:
            kind, seconds = opened.end(error)
            self._instruments.ran(opened.queue, kind, seconds)


class _Opened:
    """A span that is the current one, about jobs of a queue; "" for several queues."""

    def __init__(self, span: Span, context: contexts.Context, queue: str) -> None:
        self.span = span
        self.queue = queue
        self._began = perf_counter()
        self._token = contexts.attach(context)

    def end(
        self, error: BaseException | None, about: Callable[[], Mapping[str, Any]] = dict
    ) -> tuple[str, float]:
        """
        End the span, with the attributes that `about` returns.

        Return the `error.type`, "" for none, and the seconds since it was opened.
        """
        seconds = perf_counter() - self._began
        contexts.detach(self._token)
        kind, span = "" if error is None else names.type_of(error), self.span
        try:
            if span.is_recording():
                span.set_attributes(about())
                if error is not None:
                    span.set_attribute(names.ERROR_TYPE, kind)
                    span.set_status(Status(StatusCode.ERROR, kind))
                    span.record_exception(error)
        finally:
            span.end()
        return kind, seconds


def _is_child(run: Any) -> bool:
    """Return True if the run's span is a child of its submission's span."""
    is_awaited = run.assigned.background is False and run.attempt == 1
    return is_awaited or conf.otel_parent()


def _error_of(ending: Any) -> BaseException | None:
    """Return the error of a run; that of a job which has asked to run again is none."""
    error: BaseException | None = ending.exception
    if error is not None and ending.state == "retried" and issubclass(type(error), RetryJob):
        return None
    return error


def _common_queue(requests: list[Any]) -> str:
    """Return the queue of all requests, or ""."""
    queue = queue_of(requests[0]) if requests else ""
    if len(requests) > 1 and any(queue_of(request) != queue for request in requests):
        return ""
    return queue


def _about(only: Any, number: int) -> dict[str, Any]:
    """Return the attributes of a submission at its end: of its only job, or their number."""
    if only is None:
        return {names.MESSAGE_COUNT: number}
    found = dict(names.operation("send", "", server=server_of(only.handle)))
    return {**found, names.MESSAGE_ID: only.id, names.JOB: name_of(only)}


def _kinds(requests: list[Any], error: str) -> Counter[tuple[str, str]]:
    """Return the number of jobs by queue and by `error.type`, which is that of all if given."""
    return Counter(
        (queue_of(each), error if each.exception is None else names.type_of(each.exception))
        for each in requests
    )
