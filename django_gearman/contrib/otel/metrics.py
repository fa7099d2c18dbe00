"""The instruments of the conventions for messaging clients."""

from __future__ import annotations

from opentelemetry import metrics

from ... import __version__
from . import names


class Instruments:
    """The counter of submitted jobs, and the measures of submissions and runs."""

    def __init__(self, provider: metrics.MeterProvider | None = None) -> None:
        meter = metrics.get_meter("django_gearman", __version__, provider)
        self._sent = meter.create_counter(
            names.SENT_MESSAGES, unit="{message}", description="Jobs that were submitted"
        )
        self._submissions = meter.create_histogram(
            names.OPERATION_DURATION,
            unit="s",
            description="Duration of submissions",
            explicit_bucket_boundaries_advisory=names.BUCKETS,
        )
        self._runs = meter.create_histogram(
            names.PROCESS_DURATION,
            unit="s",
            description="Duration of runs of jobs",
            explicit_bucket_boundaries_advisory=names.BUCKETS,
        )

    def sent(self, queue: str, error: str, number: int) -> None:
        """Count jobs of a queue; `error` is the `error.type` of each, or ""."""
        self._sent.add(number, names.operation("send", queue, error))

    def submitted(self, queue: str, error: str, seconds: float) -> None:
        """Record a submission to a queue, or to several queues: ""."""
        self._submissions.record(seconds, names.operation("send", queue, error))

    def ran(self, queue: str, error: str, seconds: float) -> None:
        """Record a run."""
        self._runs.record(seconds, names.operation("process", queue, error))
