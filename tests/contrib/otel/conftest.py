from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


class Traces:
    """The spans and metrics of a test, from OpenTelemetry's own SDK."""

    def __init__(self) -> None:
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        self._exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.meters = MeterProvider([self._reader], shutdown_on_exit=False)
        self.tracer = self.provider.get_tracer("test")

    def make_middleware(self) -> Any:
        from django_gearman.contrib.otel import OpenTelemetryMiddleware

        return OpenTelemetryMiddleware(self.provider, self.meters)

    @property
    def spans(self) -> tuple[Any, ...]:
        return self._exporter.get_finished_spans()

    def named(self, start: str) -> list[Any]:
        """Return the spans whose names begin like this, in the order in which they ended."""
        return [span for span in self.spans if span.name.startswith(start)]

    def one(self, start: str) -> Any:
        [span] = self.named(start)
        return span

    def points(self, name: str) -> list[Any]:
        """Return the data points of a metric."""
        data = self._reader.get_metrics_data()
        return [
            point
            for resource in (data.resource_metrics if data is not None else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]


@pytest.fixture
def traces(settings) -> Iterator[Traces]:
    """Trace the jobs of the test."""
    recorded = Traces()
    settings.GEARMAN_MIDDLEWARE = [recorded.make_middleware]
    yield recorded
    recorded.provider.shutdown()
    recorded.meters.shutdown()
