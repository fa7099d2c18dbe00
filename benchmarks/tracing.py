"""
The cost of tracing: the CPU time of a job, submitted and run in this process, with each kind of it.

OpenTelemetry's SDK makes spans and hands them to nobody. `Bare` only calls it: the least that
tracing by it can cost. The kinds come in turns, so that a slow period of the machine meets all.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import django

django.setup()

from django.conf import settings  # noqa: E402
from opentelemetry import propagate, trace  # noqa: E402
from opentelemetry.sdk.metrics import MeterProvider  # noqa: E402
from opentelemetry.sdk.trace import TracerProvider  # noqa: E402
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON  # noqa: E402
from opentelemetry.trace import Link, SpanKind  # noqa: E402

from benchmarks.gearman_jobs import echo  # noqa: E402
from django_gearman.contrib.otel import OpenTelemetryMiddleware  # noqa: E402
from django_gearman.contrib.otel.names import operation  # noqa: E402
from django_gearman.middleware import Middleware  # noqa: E402

TURNS, JOBS = 20, 500


class Bare(Middleware):
    """The SDK's part: two spans with seven attributes, their propagation, and three metrics."""

    def __init__(self) -> None:
        meter = MeterProvider(shutdown_on_exit=False).get_meter("benchmark")
        self._tracer = TracerProvider(ALWAYS_ON, shutdown_on_exit=False).get_tracer("benchmark")
        self._sent, self._seconds = meter.create_counter("sent"), meter.create_histogram("seconds")
        self._about = operation("send", "default")
        self._more = {"messaging.message.id": "0" * 32, "gearman.job.name": "benchmarks.echo"}

    def around_submit(self, requests: list[Any], submit: Callable[[list[Any]], None]) -> None:
        span = self._tracer.start_span("send", kind=SpanKind.PRODUCER, attributes=self._about)
        propagate.inject(requests[0].context, trace.set_span_in_context(span))
        submit(requests)
        span.set_attributes(self._more)
        self._sent.add(1, self._about)
        self._end(span)

    def around_run(self, run: Any, proceed: Callable[[], Any]) -> Any:
        sender = trace.get_current_span(propagate.extract(run.call.context)).get_span_context()
        span = self._tracer.start_span(
            "process", kind=SpanKind.CONSUMER, attributes=self._about, links=[Link(sender)]
        )
        span.set_attributes(self._more)
        ending = proceed()
        self._end(span)
        return ending

    def _end(self, span: trace.Span) -> None:
        self._seconds.record(0.1, self._about)
        span.end()


def _not_sampled() -> OpenTelemetryMiddleware:
    return OpenTelemetryMiddleware(TracerProvider(ALWAYS_OFF, shutdown_on_exit=False))


def _sampled() -> OpenTelemetryMiddleware:
    provider = TracerProvider(ALWAYS_ON, shutdown_on_exit=False)
    return OpenTelemetryMiddleware(provider, MeterProvider(shutdown_on_exit=False))


#: GEARMAN_MIDDLEWARE of each kind.
KINDS: dict[str, Any] = {
    "off": [],
    "no SDK": [OpenTelemetryMiddleware],
    "not sampled": [_not_sampled],
    "bare": [Bare],
    "sampled": [_sampled],
}


class Client:
    def costs(self) -> dict[str, float]:
        """Return the microseconds of CPU time of a job with each kind."""
        times: dict[str, list[float]] = {kind: [] for kind in KINDS}
        for turn in range(TURNS + 1):
            for kind, setting in KINDS.items():
                settings.GEARMAN_MIDDLEWARE = setting
                echo.do_background("x")  # creates the middleware
                began = time.process_time()
                for _ in range(JOBS):
                    echo.do_background("x")
                if turn:  # the first one warms up
                    times[kind].append((time.process_time() - began) / JOBS * 1e6)
        return {kind: statistics.median(found) for kind, found in times.items()}
