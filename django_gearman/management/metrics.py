"""The metrics of `gearman_worker --metrics`, which are an optional part; the core knows none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Protocol, cast

from django.core.management.base import CommandError

from ..supervisor import Service
from ..worker.worker import GearmanWorker

_PART = "django_gearman.contrib.metrics.worker"
_LIBRARY = "prometheus_client"


class Metrics(Protocol):
    """The metrics of a supervisor's processes, and the page that shows them."""

    @property
    def services(self) -> Sequence[Service]:
        """The services of the attendant that serve the page."""

    @property
    def kept(self) -> Mapping[str, int]:
        """The descriptors that the next program gets on a reload, by name."""

    def open(self) -> None:
        """Listen, and prepare to count; raise CommandError if this is impossible."""

    def begin_process(self, number: int) -> None:
        """Count in this forked process, which has this number."""

    def begin_worker(self) -> None:
        """Close the descriptors that only the attendant needs."""

    def close(self) -> None:
        """Remove all that `open` has made."""


class NoMetrics:
    """The absence of metrics: nothing is counted, and nothing is served."""

    services: Sequence[Service] = ()
    kept: Mapping[str, int] = {}

    def open(self) -> None:
        pass

    def begin_process(self, number: int) -> None:
        pass

    def begin_worker(self) -> None:
        pass

    def close(self) -> None:
        pass


def load_metrics(address: str | None, workers: Sequence[GearmanWorker]) -> Metrics:
    """
    Return the metrics of these workers, served at this address; None is for none.

    Raises ValueError for a wrong address, and CommandError if the library is not installed.
    """
    if address is None:
        return NoMetrics()
    try:
        part = import_module(_PART)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != _LIBRARY:
            raise
        raise CommandError(
            "--metrics needs prometheus-client, which is not installed: "
            "pip install 'django-gearman[prometheus]'"
        ) from error
    return cast("Metrics", part.WorkerMetrics(address, workers))
