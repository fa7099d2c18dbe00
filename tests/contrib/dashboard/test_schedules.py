"""The page of the schedules."""

from __future__ import annotations

import datetime

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.messages import get_messages
from django.urls import reverse
from django.utils import timezone

from django_gearman.contrib.store.models import JobRecord, OutboxJob, Schedule, Tick
from django_gearman.contrib.store.scheduler.declared import schedules
from tests.contrib.dashboard.test_failures import XSS, get, text_of
from tests.contrib.store.recorded import recorded

pytestmark = [pytest.mark.django_db, pytest.mark.gearman("memory", raise_failures=False)]


@pytest.fixture(autouse=True)
def nightly(settings):
    job = {"job": "tests.contrib.plain", "args": ["ran"]}
    settings.GEARMAN_SCHEDULE = {
        "nightly": {**job, "cron": "0 3 * * *", "timezone": "Europe/Berlin"},
        "ping": {**job, "every": 30},
    }


@pytest.fixture
def operator(staff):
    """Return the browser of somebody who may control schedules."""
    return staff("view_schedule", "control_worker", "view_jobrecord", name="operator")


def act(browser, name, what, **fields):
    return browser.post(
        reverse("admin:gearman_schedule_act"), {"name": name, "act": what, **fields}
    )


def texts(response):
    return [str(message) for message in get_messages(response.wsgi_request)]


def ticked(name, job_id, ago=60):
    [schedule] = [each for each in schedules() if each.name == name]
    due = timezone.now() - datetime.timedelta(seconds=ago)
    starts = {schedule.timing.digest: due.timestamp() - 1}
    Schedule.objects.create(name=name, starts=starts)
    Tick.objects.create(schedule=schedule.key, due_at=due, job_id=job_id)


def test_each_schedule_is_described_in_words_with_its_zone_and_times(viewer):
    ticked("nightly", "1", ago=7200)

    page = text_of(get(viewer, "schedules"))

    assert "At 03:00 every day (Europe/Berlin)" in page
    assert "every 30 s" in page
    assert "Last 2 h ago" in page
    assert "Last never" in page


@pytest.mark.parametrize("status", ["FAILED", "SUCCESSFUL", "RUNNING"])
def test_the_end_of_the_last_run_is_shown_with_a_link(viewer, status):
    record = recorded(status=status)
    ticked("nightly", record.pk)

    page = get(viewer, "schedules")

    link = f'<a href="{reverse("admin:gearman_job", args=[record.pk])}"'
    assert link in page
    assert f">{status.lower()}</a>" in page


def test_a_run_without_a_record_did_not_fail(viewer):
    ticked("nightly", "gone")
    assert "no failure on record" in get(viewer, "schedules")

    OutboxJob.objects.create(job_id="gone", function="f", unique="gone", workload=b"")
    assert "waits in the outbox" in get(viewer, "schedules")


def test_run_now_submits_the_job_once(operator, gearman_worker, has_run):
    at = timezone.now().isoformat()
    first = act(operator, "nightly", "run", at=at)
    second = act(operator, "nightly", "run", at=at)
    gearman_worker.run()

    [tick] = Tick.objects.all()
    assert has_run == ["ran"]
    assert texts(first) == [f"Schedule nightly runs now, as job {tick.job_id}."]
    assert texts(second)[-1] == "Schedule nightly runs already: the button was pressed twice."
    entry = LogEntry.objects.get()
    assert (entry.object_repr, entry.change_message) == ("nightly", f"Run now: job {tick.job_id}")


@pytest.mark.parametrize(
    "at", ["", "x", "2026-13-01", "0001-01-01T00:00:00+14:00", "2026-01-01T00:00"]
)
def test_run_now_needs_no_time_in_the_form(operator, gearman_worker, has_run, at):
    act(operator, "nightly", "run", at=at)
    gearman_worker.run()

    assert has_run == ["ran"]
    assert timezone.now() - Tick.objects.get().due_at < datetime.timedelta(minutes=5)


def test_a_pause_names_its_user_and_is_ended(operator, viewer):
    paused = act(operator, "ping", "pause")
    again = act(operator, "ping", "pause")
    page = get(viewer, "schedules")
    resumed = act(operator, "ping", "resume")

    assert texts(paused) == ["Schedule ping is paused. Its ticks are not made up later."]
    assert texts(again)[-1] == "Schedule ping was paused already."
    assert "Paused by operator" in page
    assert texts(resumed)[-1] == "Schedule ping is resumed."
    assert "Paused by" not in get(viewer, "schedules")
    messages = [*LogEntry.objects.order_by("pk").values_list("change_message", flat=True)]
    assert messages == ["Paused", "Resumed"]


def test_trouble_comes_first(viewer):
    ticked("ping", "1", ago=7200)
    record = recorded(status=JobRecord.Status.SUCCESSFUL)
    ticked("nightly", record.pk, ago=5)

    page = text_of(get(viewer, "schedules"))

    assert page.index("ping") < page.index("nightly")
    assert "was not submitted; are gearman_worker or gearman_scheduler running?" in page


def test_mistakes_in_schedules_are_shown_beside_the_others(viewer, settings):
    settings.GEARMAN_SCHEDULE = {
        **settings.GEARMAN_SCHEDULE,
        XSS: {"job": "tests.contrib.plain", "args": [1], "cron": "no"},
    }

    page = get(viewer, "schedules")

    assert "it must have five fields" in page
    assert "nightly" in page
    assert "<script>alert" not in page


def test_without_schedules_the_page_says_how_to_declare_one(viewer, settings):
    settings.GEARMAN_SCHEDULE = {}

    assert "No schedules. Declare some" in text_of(get(viewer, "schedules"))


def test_a_user_who_may_only_see_schedules_cannot_act(viewer, staff):
    assert 'name="act"' not in get(viewer, "schedules")
    for what in ("run", "pause", "resume"):
        assert act(viewer, "nightly", what).status_code == 403
    browser = staff("view_schedule", "control_worker", enforce_csrf_checks=True)
    assert act(browser, "nightly", "pause").status_code == 403
    assert browser.get(reverse("admin:gearman_schedule_act")).status_code == 405
    assert not Schedule.objects.exists()


def test_an_unknown_schedule_or_action_changes_nothing(operator):
    assert texts(act(operator, "gone\x1b", "run")) == ["The schedule gone\\x1b no longer exists."]
    assert act(operator, "nightly", "explode").status_code == 400
    assert not Tick.objects.exists()


def test_the_number_of_queries_does_not_grow_with_the_schedules(
    viewer, settings, django_assert_max_num_queries, django_assert_num_queries
):
    ticked("nightly", recorded().pk)
    with django_assert_max_num_queries(10) as few:
        get(viewer, "schedules")
    entry = {"job": "tests.contrib.plain", "args": [1], "every": 60}
    settings.GEARMAN_SCHEDULE = {f"n{number}": entry for number in range(30)}
    for number in range(30):
        ticked(f"n{number}", recorded().pk)

    with django_assert_num_queries(len(few.captured_queries)):
        get(viewer, "schedules")
