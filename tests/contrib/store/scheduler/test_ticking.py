"""The scheduler, by a clock that the tests move."""

from __future__ import annotations

import datetime
import logging

import pytest
from django.db import DatabaseError, transaction
from django.utils import timezone

from django_gearman import current_job, gearman_job
from django_gearman.contrib.store.functions import DatabaseTime
from django_gearman.contrib.store.models import OutboxJob, Schedule, Tick
from django_gearman.contrib.store.scheduler.declared import schedules
from django_gearman.contrib.store.scheduler.ticking import Scheduler
from tests.app import gearman_jobs as jobs

pytestmark = pytest.mark.django_db


class Site:
    """Schedulers of one project, and their clock."""

    def __init__(self, settings) -> None:
        self.now = datetime.datetime(2026, 6, 1, 12, 0, tzinfo=datetime.UTC)
        self._settings = settings

    def declare(self, **entries: dict[str, object]) -> None:
        job = {"job": "tests.app.note", "args": ["ran"]}
        self._settings.GEARMAN_SCHEDULE = {n: {**job, **entry} for n, entry in entries.items()}
        self.restart()

    def restart(self) -> None:
        self.scheduler = Scheduler(schedules(), "default", lambda: self.now)
        self.look()

    def look(self) -> float:
        return self.scheduler.look()

    def wait(self, *, looks: bool = True, **delta: float) -> None:
        """Let time pass; the scheduler looks whenever it asked to."""
        end = self.now + datetime.timedelta(**delta)
        while looks and self.now < end:
            self.now = min(end, self.now + datetime.timedelta(seconds=max(0.01, self.look())))
        self.now = end
        if looks:
            self.look()


@pytest.fixture
def site(settings, gearman_client):
    return Site(settings)


def dues() -> list[str]:
    return [
        f"{due:%d %H:%M}" for due in Tick.objects.values_list("due_at", flat=True).order_by("pk")
    ]


def test_a_tick_submits_its_job_once(site, ran):
    site.declare(hourly={"cron": "0 * * * *"})

    site.wait(hours=2, minutes=30)

    assert dues() == ["01 13:00", "01 14:00"]
    assert ran == ["ran", "ran"]
    assert not OutboxJob.objects.exists()


def test_a_tick_names_its_job(site, gearman_client):
    site.declare(hourly={"cron": "0 * * * *"})

    site.wait(hours=1)

    assert Tick.objects.get().job_id == gearman_client.submitted[0].id


def test_several_schedulers_submit_each_job_once(site, ran):
    site.declare(hourly={"cron": "0 * * * *"})
    others = [Scheduler(schedules(), "default", lambda: site.now) for _ in range(4)]
    for hour in range(3):
        site.wait(hours=1)
        for other in others:
            other.look()
        assert len(ran) == hour + 1


def test_another_scheduler_that_was_first_in_the_same_moment(site, ran, monkeypatch):
    site.declare(hourly={"cron": "0 * * * *"})
    other = Scheduler(schedules(), "default", lambda: site.now)
    other.look()
    site.wait(minutes=59)
    site.now += datetime.timedelta(minutes=1)
    # Both have found that there is no tick yet.
    exists = "django.db.models.QuerySet.exists"
    with monkeypatch.context() as patched:
        patched.setattr(exists, lambda self: False)
        site.look()
        other.look()

    assert (dues(), ran) == (["01 13:00"], ["ran"])


def test_a_tick_and_its_job_are_one_transaction(site, monkeypatch):
    from django_gearman.contrib.store.scheduler import ticking

    site.declare(hourly={"cron": "0 * * * *"})

    def fail(*arguments, **options):
        raise DatabaseError("the connection is gone")

    with monkeypatch.context() as patched:
        patched.setattr(ticking, "deliver", fail)
        with pytest.raises(DatabaseError):
            site.wait(hours=1)
        assert dues() == []

    site.look()
    assert dues() == ["01 13:00"]


def test_a_job_server_that_is_down_at_the_tick_gets_the_job_later(site, gearman_client, ran):
    from django_gearman.contrib.store.outbox.relay import Relay

    site.declare(hourly={"cron": "0 * * * *"})
    with gearman_client.server_down():
        site.wait(hours=1)
    assert (dues(), ran) == (["01 13:00"], [])

    OutboxJob.objects.update(next_try_at=DatabaseTime(-1))
    Relay("default").sweep()

    assert ran == ["ran"]


def test_the_last_missed_tick_is_made_up_once(site, ran):
    site.declare(hourly={"cron": "0 * * * *"})
    site.wait(looks=False, hours=5, minutes=10)

    site.restart()
    site.wait(minutes=5)

    assert (dues(), ran) == (["01 17:00"], ["ran"])


@pytest.mark.parametrize(
    ("grace", "minutes", "is_made_up"),
    [(600, 20, False), (600, 5, True), (None, 40, False), (None, 20, True), (7200, 59, True)],
)
def test_a_missed_tick_is_made_up_within_the_grace_only(site, ran, grace, minutes, is_made_up):
    site.declare(hourly={"cron": "0 * * * *", "grace": grace})
    site.wait(looks=False, hours=5, minutes=minutes)

    site.restart()

    assert ran == (["ran"] if is_made_up else [])


def test_a_missed_tick_that_is_not_made_up_is_logged(site, caplog):
    site.declare(hourly={"cron": "0 * * * *"})
    site.wait(looks=False, minutes=100)
    site.look()

    assert "schedule hourly: the tick of 2026-06-01 13:00:00+00:00 was missed" in caplog.text


def test_a_new_schedule_begins_when_it_is_first_seen(site, ran):
    site.declare(late={"cron": "59 11 * * *"})

    site.wait(hours=23)
    assert ran == []
    site.wait(hours=1)

    assert dues() == ["02 11:59"]


def test_a_schedule_with_another_timing_is_a_new_one(site, ran):
    site.declare(daily={"cron": "0 13 * * *"})
    site.wait(hours=3)
    assert dues() == ["01 13:00"]

    site.declare(daily={"cron": "59 14 * * *"})
    site.wait(hours=1)
    assert dues() == ["01 13:00"], "14:59 was before this timing was known"

    site.wait(hours=24)
    assert dues() == ["01 13:00", "02 14:59"]


def test_two_releases_side_by_side_do_not_reset_each_others_start(site, settings, ran):
    site.declare(daily={"cron": "0 13 * * *"})
    old = site.scheduler
    site.declare(daily={"cron": "0 14 * * *"})
    for _ in range(4 * 60):
        site.wait(minutes=1)
        old.look()

    assert dues() == ["01 13:00", "01 14:00"]


def test_a_paused_schedule_has_no_ticks_and_no_burst_afterwards(site, ran):
    site.declare(hourly={"cron": "0 * * * *"})
    Schedule.objects.update(paused_at=timezone.now(), paused_by="ada")
    site.wait(hours=5, minutes=1)
    assert dues() == []

    Schedule.objects.update(paused_at=None, paused_by="")
    site.wait(minutes=30)
    assert dues() == []
    site.wait(minutes=30)

    assert (dues(), ran) == (["01 18:00"], ["ran"])


def test_a_removed_schedule_is_forgotten_with_one_line(site, caplog):
    caplog.set_level(logging.INFO, "django_gearman.scheduler")
    site.declare(hourly={"cron": "0 * * * *"}, daily={"cron": "0 0 * * *"})

    site.declare(daily={"cron": "0 0 * * *"})
    site.restart()

    assert [*Schedule.objects.values_list("name", flat=True)] == ["daily"]
    assert caplog.text.count("schedule hourly is no longer in the code") == 1


def test_a_clock_that_steps_back_repeats_no_tick(site, ran):
    site.declare(minutely={"cron": "* * * * *"})
    site.wait(minutes=10)
    number = len(ran)

    site.now -= datetime.timedelta(minutes=5)
    site.restart()
    site.wait(minutes=5)

    assert len(ran) == number


def test_one_schedule_that_fails_does_not_stop_the_others(site, monkeypatch, ran):
    from django_gearman.contrib.store.scheduler.declared import Scheduled

    site.declare(bad={"cron": "0 * * * *"}, good={"cron": "0 * * * *"})
    request = Scheduled.request

    def fail(self, due, on_commit):
        if self.name == "bad":
            raise RuntimeError("the project's context provider")
        return request(self, due, on_commit)

    monkeypatch.setattr(Scheduled, "request", fail)
    site.now += datetime.timedelta(hours=1)

    with pytest.raises(RuntimeError):
        site.look()

    assert ran == ["ran"]


def test_without_overlap_the_schedules_name_is_the_jobs_unique(site, gearman_client):
    site.declare(hourly={"cron": "0 * * * *", "overlap": False})

    site.wait(hours=1)

    assert gearman_client.submitted[0].unique == "hourly"


def test_a_scheduler_looks_at_the_databases_clock_every_ten_seconds(site):
    site.declare(hourly={"cron": "0 * * * *"})

    assert site.look() == 10
    site.now += datetime.timedelta(minutes=59, seconds=57)
    assert site.look() == pytest.approx(3)


def test_old_ticks_are_deleted_but_the_last_of_each_schedule(site):
    site.declare(hourly={"cron": "0 * * * *"}, monthly={"cron": "0 0 1 * *"})
    site.wait(hours=3)
    Tick.objects.create(schedule=schedules()[1].key, due_at=site.now, job_id="1")
    Tick.objects.create(schedule="removed:12345678", due_at=site.now, job_id="1")
    Tick.objects.update(created_at=DatabaseTime(-8 * 86400))

    assert site.scheduler.prune() == 2

    assert sorted(Tick.objects.values_list("schedule", flat=True)) == sorted(
        [schedules()[0].key, schedules()[1].key, "removed:12345678"]
    )


# The time at which a job was due


SEEN: list[object] = []


@pytest.fixture
def due_job(monkeypatch):
    from django_gearman.jobs.registry import registry

    monkeypatch.setattr(registry, "_jobs", dict(registry._jobs))
    SEEN.clear()

    @gearman_job(name="shop.due", retries=1, backoff=60)
    def due(fails: bool = False) -> None:
        job = current_job()
        SEEN.append(job.scheduled_for)
        assert job.context == {}
        jobs.note.do_background("child")
        if fails and job.attempt == 1:
            raise ValueError("again")

    return due


@pytest.mark.parametrize(
    "options", [{}, {"overlap": False}, {"priority": "LOW"}], ids=["plain", "unique", "priority"]
)
def test_a_job_knows_when_it_was_due_in_each_attempt(
    site, due_job, options, gearman_worker, gearman_client
):
    gearman_client.raise_failures = False
    site.declare(hourly={"cron": "0 * * * *", "job": "shop.due", "args": [True], **options})

    site.wait(hours=1, minutes=5)
    site.declare()  # the worker has the time of the system, at which the schedule may be due, too
    gearman_worker.advance(minutes=1)

    assert [datetime.datetime(2026, 6, 1, 13, tzinfo=datetime.UTC)] * 2 == SEEN


def test_a_job_that_no_schedule_has_submitted_was_never_due(due_job, gearman_client):
    due_job.do_background()

    assert SEEN == [None]


def test_a_job_that_a_scheduled_one_submits_is_not_scheduled(site, due_job, gearman_client):
    site.declare(hourly={"cron": "0 * * * *", "job": "shop.due", "args": []})

    with transaction.atomic():
        site.wait(hours=1)

    child = gearman_client.submitted[-1]
    assert child.name == "tests.app.note"
    assert child.request.context == {}
