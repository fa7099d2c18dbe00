"""Schedules in tests: moving the clock makes them due, without a database."""

from __future__ import annotations

import datetime
import time

import pytest

from django_gearman import current_job, gearman_job
from django_gearman.jobs.registry import registry

SEEN: list[object] = []


@pytest.fixture(autouse=True)
def job(monkeypatch, settings):
    monkeypatch.setattr(registry, "_jobs", dict(registry._jobs))
    SEEN.clear()

    @gearman_job(name="shop.tick")
    def tick(name: str) -> None:
        SEEN.append((name, current_job().scheduled_for))

    settings.GEARMAN_SCHEDULE = {
        "slow": {"job": "shop.tick", "every": 3600, "args": ["slow"]},
        "quick": {"job": "shop.tick", "every": 1200, "args": ["quick"]},
    }


def test_ticks_are_due_in_order(gearman_client, gearman_worker):
    begun = time.time()

    assert gearman_worker.advance(hours=2) == 8

    assert [name for name, _ in SEEN].count("slow") == 2
    times = [due.timestamp() for _, due in SEEN]
    assert times == sorted(times)
    assert begun < times[0] <= begun + 1200
    assert all(isinstance(due, datetime.datetime) and due.tzinfo for _, due in SEEN)


def test_a_tick_is_due_once_however_time_passes(gearman_client, gearman_worker):
    for _ in range(24):
        gearman_worker.advance(minutes=5)

    assert len(SEEN) == 8


@pytest.mark.gearman("memory")
def test_on_memory_the_jobs_run_when_the_worker_does(gearman_worker):
    assert gearman_worker.advance(hours=1) == 0
    assert SEEN == []

    assert gearman_worker.run() == 4
    assert len(SEEN) == 4


def test_delayed_jobs_and_ticks_keep_their_order(gearman_client, gearman_worker):
    delayed = registry.get("shop.tick")
    delayed.using(run_after=datetime.timedelta(minutes=90)).do_background("delayed")

    gearman_worker.advance(hours=3)

    names = [name for name, _ in SEEN]
    assert names.index("delayed") not in (0, len(names) - 1)


def test_an_exception_of_a_scheduled_job_reaches_the_test(gearman_client, gearman_worker, settings):
    @gearman_job(name="shop.broken")
    def broken() -> None:
        raise LookupError("no such shop")

    settings.GEARMAN_SCHEDULE = {"broken": {"job": "shop.broken", "every": 60}}

    with pytest.raises(LookupError, match="no such shop"):
        gearman_worker.advance(minutes=1)
