"""`manage.py gearman_scheduler`, and the scheduler as a service of the attendant."""

from __future__ import annotations

import datetime
import json
from io import StringIO

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from django_gearman.contrib.store.models import Schedule, Tick
from django_gearman.contrib.store.scheduler.declared import schedules
from django_gearman.contrib.store.scheduler.service import Ticking, make_service

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def schedule(settings):
    settings.GEARMAN_SCHEDULE = {
        "nightly": {"job": "tests.app.note", "args": [1], "cron": "0 3 * * *", "timezone": "UTC"}
    }


def run(*arguments: str) -> str:
    output = StringIO()
    call_command("gearman_scheduler", *arguments, stdout=output, verbosity=0)
    return output.getvalue()


def test_list_shows_each_schedule_in_words_with_its_times():
    tomorrow = timezone.now() + datetime.timedelta(days=1)

    line = run("--list")

    assert line.startswith("nightly  tests.app.note  At 03:00 every day (UTC)  never run, next ")
    assert f"{tomorrow:%Y-%m-}" in line or f"{timezone.now():%Y-%m-}" in line


def test_list_shows_the_last_tick_and_the_pause():
    due = datetime.datetime(2026, 1, 1, 3, tzinfo=datetime.UTC)
    Tick.objects.create(schedule=schedules()[0].key, due_at=due, job_id="1")
    Schedule.objects.create(name="nightly", paused_at=timezone.now(), paused_by="ada")

    assert run("--list").endswith("last 2026-01-01 03:00:00 UTC, paused by ada\n")
    [row] = json.loads(run("--list", "--json"))
    assert (row["name"], row["last"]) == ("nightly", "2026-01-01T03:00:00+00:00")
    assert row["next"].endswith("T03:00:00+00:00")


def test_once_makes_what_is_due(settings, gearman_client, ran):
    settings.GEARMAN_SCHEDULE = {"ping": {"job": "tests.app.note", "args": [1], "every": 0.1}}
    run("--once")  # it is new
    ticking = Ticking()
    ticking.turn(None)

    while not ran:
        ticking.turn(None)

    assert Tick.objects.count() >= 1


def test_a_mistake_in_a_schedule_is_an_error(settings):
    settings.GEARMAN_SCHEDULE = {"nightly": {"job": "tests.app.note", "cron": "0 3 * * *"}}

    with pytest.raises(CommandError, match="missing a required argument"):
        run("--once")


def test_without_schedules_there_is_nothing_to_run(settings):
    settings.GEARMAN_SCHEDULE = {}

    assert make_service() is None
    assert run("--list") == ""
    with pytest.raises(CommandError, match="There are no schedules"):
        run()


def test_json_is_for_the_list():
    with pytest.raises(CommandError, match="--json goes with --list"):
        run("--json")


def test_the_attendant_has_a_scheduler_if_there_are_schedules(settings, gearman_server):
    service = make_service()

    assert service is not None
    assert service.name == "scheduler"
    assert 0 < service.turn(None) <= 10
