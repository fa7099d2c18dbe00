"""Running a schedule now, pausing and resuming it; trouble with schedules."""

from __future__ import annotations

import datetime

import pytest
from django.utils import timezone

from django_gearman.contrib.store.models import Schedule, Tick
from django_gearman.contrib.store.scheduler.declared import schedules
from django_gearman.contrib.store.scheduler.figures import figures_of
from django_gearman.contrib.store.scheduler.steering import pause, resume, run_now
from django_gearman.contrib.store.scheduler.ticking import Scheduler

pytestmark = pytest.mark.django_db
DEFAULT = "default"


@pytest.fixture
def declare(settings, gearman_client):
    """Return a function that declares schedules, and returns them."""

    def write(**entries):
        job = {"job": "tests.app.note", "args": ["ran"]}
        settings.GEARMAN_SCHEDULE = {name: {**job, **entry} for name, entry in entries.items()}
        return schedules()

    return write


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def test_a_request_to_run_now_is_one_job_however_often_it_comes(declare, ran):
    [hourly] = declare(hourly={"cron": "0 * * * *"})
    moment = now()

    first = run_now(hourly, moment, DEFAULT)
    second = run_now(hourly, moment, DEFAULT)
    later = run_now(hourly, moment + datetime.timedelta(seconds=1), DEFAULT)

    assert (ran, second) == (["ran", "ran"], None)
    assert first != later


def test_running_now_hinders_no_tick(declare, ran):
    [often] = declare(often={"cron": "* * * * *"})
    time = datetime.datetime(2026, 6, 1, 12, 0, 30, tzinfo=datetime.UTC)
    clock = [time]
    scheduler = Scheduler([often], DEFAULT, lambda: clock[0])
    scheduler.look()

    run_now(often, datetime.datetime(2026, 6, 1, 12, 1, 0, tzinfo=datetime.UTC), DEFAULT)
    run_now(often, datetime.datetime(2026, 6, 1, 12, 1, 30, tzinfo=datetime.UTC), DEFAULT)
    clock[0] += datetime.timedelta(seconds=31)
    scheduler.look()

    assert ran == ["ran"] * 3
    assert figures_of([often], DEFAULT)[0]["last"] == time + datetime.timedelta(seconds=30)


def test_a_schedule_is_paused_once_and_resumed_once(declare):
    declare(hourly={"cron": "0 * * * *"})

    assert [pause("hourly", "ada", DEFAULT), pause("hourly", "bob", DEFAULT)] == [True, False]
    row = Schedule.objects.get(pk="hourly")
    assert (row.paused_by, row.paused_at is None) == ("ada", False)

    assert [resume("hourly", DEFAULT), resume("hourly", DEFAULT)] == [True, False]
    row.refresh_from_db()
    assert (row.paused_by, row.paused_at) == ("", None)


def test_ticks_of_a_pause_are_not_made_up_though_no_scheduler_ran(declare, ran):
    [often] = declare(often={"every": 1})
    scheduler = Scheduler([often], DEFAULT)
    scheduler.look()
    start = now() - datetime.timedelta(minutes=5)
    Schedule.objects.update(starts={often.timing.digest: start.timestamp()})
    pause("often", "ada", DEFAULT)
    resume("often", DEFAULT)

    Scheduler([often], DEFAULT, lambda: now()).look()

    begun = Schedule.objects.get().starts[often.timing.digest]
    assert begun > start.timestamp() + 290
    assert not Tick.objects.filter(due_at__lt=datetime.datetime.fromtimestamp(begun, datetime.UTC))


def test_a_schedule_that_no_scheduler_has_seen_is_trouble(declare):
    [hourly] = declare(hourly={"cron": "0 * * * *"})
    assert "no scheduler has seen it yet" in figures_of([hourly], DEFAULT)[0]["trouble"]

    Scheduler([hourly], DEFAULT).look()
    assert figures_of([hourly], DEFAULT)[0]["trouble"] == ""


def test_a_missing_tick_is_trouble_unless_the_schedule_is_paused(declare):
    [often] = declare(often={"cron": "* * * * *"})
    start = timezone.now() - datetime.timedelta(minutes=10)
    starts = {often.timing.digest: start.timestamp()}
    Schedule.objects.create(name="often", starts=starts)
    assert "was not submitted" in figures_of([often], DEFAULT)[0]["trouble"]

    pause("often", "ada", DEFAULT)
    assert figures_of([often], DEFAULT)[0]["trouble"] == ""
    resume("often", DEFAULT)
    assert figures_of([often], DEFAULT)[0]["trouble"] == ""


def test_the_number_of_queries_does_not_grow_with_the_schedules(declare, django_assert_num_queries):
    one = declare(one={"every": 60})
    with django_assert_num_queries(2):
        figures_of(one, DEFAULT)
    many = declare(**{f"n{number}": {"every": 60 + number} for number in range(30)})

    with django_assert_num_queries(2):
        assert len(figures_of(many, DEFAULT)) == 30
