from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from django_gearman.contrib.metrics.counting import RunCounter
from django_gearman.jobs import counting


class Counted:
    """The metrics that are counted in this process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.counter = RunCounter(self.registry)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)

    def rows(self, name: str) -> dict[tuple[str, ...], float]:
        """Return the values of a metric, by the values of its labels in the order of their names."""
        return {
            tuple(value for _, value in sorted(sample.labels.items())): sample.value
            for metric in self.registry.collect()
            for sample in metric.samples
            if sample.name == name
        }


@pytest.fixture
def counted() -> Iterator[Counted]:
    """Count the jobs of the test."""
    before = counting.counter
    made = Counted()
    counting.install_counter(made.counter)
    yield made
    counting.install_counter(before)


@pytest.fixture
def use(settings: Any, production: None) -> Callable[..., None]:
    """Return a function that sets the job servers."""

    def use(*addresses: str) -> None:
        settings.GEARMAN_BACKEND = "gearman"
        settings.GEARMAN_SERVERS = [*addresses]

    return use
