from __future__ import annotations

from collections.abc import Iterator

import pytest
from prometheus_client.samples import Sample

from django_gearman.contrib.metrics.counting import RunCounter
from django_gearman.contrib.metrics.files import file_metrics
from django_gearman.jobs import counting


class Counted:
    """The metrics that are counted in this process."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.counter = RunCounter(directory)

    def samples(self, name: str) -> list[Sample]:
        return [
            sample
            for metric in file_metrics(self.directory, None, [])
            for sample in metric.samples
            if sample.name == name
        ]

    def value(self, name: str, **labels: str) -> float:
        return sum(
            each.value for each in self.samples(name) if labels.items() <= each.labels.items()
        )

    def rows(self, name: str) -> dict[tuple[str, ...], float]:
        """Return the values of a metric, by the values of its labels in the order of their names."""
        return {
            tuple(value for _, value in sorted(each.labels.items())): each.value
            for each in self.samples(name)
        }


@pytest.fixture(autouse=True)
def restored_counter() -> Iterator[None]:
    """Take away the counter that a test has installed, also by a collector."""
    before = counting.counter
    yield
    counting.install_counter(before)


@pytest.fixture
def counted(tmp_path) -> Iterator[Counted]:
    """Count the jobs of the test."""
    made = Counted(str(tmp_path))
    counting.install_counter(made.counter)
    yield made
    made.counter.close()
