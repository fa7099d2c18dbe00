"""Metrics of submissions and runs."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from django_gearman.exceptions import JobRaised, ServerUnavailable
from tests.contrib.otel import work

memory = pytest.mark.gearman("memory", raise_failures=False)


def kinds(points) -> dict[tuple[str, str], int]:
    """Return the number of each queue and error."""
    return {
        (
            _of(point.attributes, "messaging.destination.name"),
            _of(point.attributes, "error.type"),
        ): (point.value if hasattr(point, "value") else point.count)
        for point in points
    }


def _of(attributes: Mapping[str, str], name: str) -> str:
    return attributes.get(name, "")


@memory
def test_sent_jobs_are_counted_by_queue(traces, gearman_worker):
    work.looks.do_background(1)
    work.looks.enqueue_many([1, 2, 3])

    assert kinds(traces.points("messaging.client.sent.messages")) == {("traced", ""): 4}


@memory
def test_submissions_are_measured(traces, gearman_worker):
    work.looks.do_background(1)
    work.looks.enqueue_many([1, 2, 3])

    [point] = traces.points("messaging.client.operation.duration")
    assert point.count == 2
    assert point.attributes["messaging.operation.name"] == "send"
    assert point.explicit_bounds[0] == 0.005


def test_a_submission_that_fails_is_counted_as_such(traces, gearman_client):
    with gearman_client.server_down(), pytest.raises(ServerUnavailable):
        work.looks.do_background(1)

    error = "django_gearman.exceptions.ServerUnavailable"
    for name in ("messaging.client.sent.messages", "messaging.client.operation.duration"):
        assert kinds(traces.points(name)) == {("traced", error): 1}


@memory
def test_runs_are_measured(traces, gearman_worker):
    work.fails_at_first.do_background(1)
    work.asks_for_another_run.do_background()
    gearman_worker.run()

    points = traces.points("messaging.process.duration")
    assert kinds(points) == {("traced", ""): 3, ("traced", "OSError"): 1}
    assert all(0 < point.sum < 60 for point in points)


@pytest.mark.gearman("eager", raise_failures=False)
def test_no_metric_has_an_id_or_a_name_of_a_job(traces, gearman_client):
    with pytest.raises(JobRaised):
        work.fails_at_first.do(1)

    names = {
        name
        for metric in ("sent.messages", "operation.duration")
        for point in traces.points(f"messaging.client.{metric}")
        for name in point.attributes
    } | {name for point in traces.points("messaging.process.duration") for name in point.attributes}
    assert names == {
        "messaging.system",
        "messaging.operation.name",
        "messaging.operation.type",
        "messaging.destination.name",
        "error.type",
    }
