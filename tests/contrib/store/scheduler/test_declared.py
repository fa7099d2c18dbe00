"""Schedules as a project declares them, and the mistakes in them."""

from __future__ import annotations

import datetime

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_gearman import checks, gearman_job
from django_gearman.contrib.store.scheduler.checks import check_schedules
from django_gearman.contrib.store.scheduler.declared import read_schedules, schedules
from django_gearman.jobs.registry import JobRegistry, registry

ENTRY = {"job": "tests.app.note", "cron": "0 3 * * *", "args": [1]}


@pytest.fixture
def declare(monkeypatch):
    """Return a decorator like gearman_job; its jobs are forgotten after the test."""
    monkeypatch.setattr(registry, "_jobs", dict(registry._jobs))
    return gearman_job


def only(settings, **entry: object):
    settings.GEARMAN_SCHEDULE = {"nightly": {**ENTRY, **entry}}
    [schedule] = schedules()
    return schedule


def test_a_schedule_of_the_setting(settings):
    schedule = only(settings, timezone="Europe/Berlin", overlap=False, grace=600, priority="HIGH")

    assert (schedule.name, schedule.job_name, schedule.call.args) == (
        "nightly",
        "tests.app.note",
        (1,),
    )
    assert (schedule.overlap, schedule.grace, schedule.priority) == (False, 600, "HIGH")
    assert schedule.key.startswith("nightly:")


def test_a_schedule_of_a_job(declare):
    @declare(name="shop.report", cron="@daily", cron_timezone="Asia/Tokyo")
    def report(days: int = 1) -> None: ...

    [schedule] = schedules()

    assert (schedule.name, schedule.task) == ("shop.report", report)
    assert schedule.timing.text == "0 0 * * * Asia/Tokyo"


@pytest.mark.parametrize("every", [60, 60.0, datetime.timedelta(minutes=1)])
def test_an_interval(settings, every):
    settings.GEARMAN_SCHEDULE = {"ping": {"job": "tests.app.nothing", "every": every}}

    assert schedules()[0].timing.text == "every 60 s"


def test_a_job_of_another_program(settings, gearman_client):
    gearman_client.stub("php.resize")
    settings.GEARMAN_SCHEDULE = {"resize": {"job": "php.resize", "every": 60, "kwargs": {"w": 1}}}

    [schedule] = schedules()

    assert schedule.task == "php.resize"
    schedule.submit(datetime.datetime.now(datetime.UTC))
    assert gearman_client.submitted[0].name == "php.resize"


MISTAKES = {
    "unknown job": ({"job": "tests.app.notes"}, "did you mean"),
    "no job": ({"job": None}, "'job' is missing"),
    "a job of the wrong type": ({"job": 7}, "'job' is the name of a job"),
    "too many arguments": ({"args": [1, 2, 3]}, "job tests.app.note.*argument"),
    "too few arguments": ({"args": []}, "missing a required argument"),
    "an unknown argument": ({"args": [], "kwargs": {"valeu": 1}}, "did you mean 'value'"),
    "arguments that are no list": ({"args": "abc"}, "args is a list"),
    "keywords that are no dict": ({"kwargs": [1]}, "kwargs is a dict"),
    "keywords that are no names": ({"kwargs": {1: 2}}, "kwargs is a dict"),
    "an argument that cannot be sent": ({"args": [object()]}, "object"),
    "both": ({"every": 5}, "both cron and every"),
    "neither": ({"cron": None}, "neither cron nor every"),
    "a cron that never comes": ({"cron": "0 0 31 2 *"}, "Bad day-of-month"),
    "an unknown zone": ({"timezone": "Mars/Olympus"}, "does not exist"),
    "a zone for an interval": ({"cron": None, "every": 5, "timezone": "UTC"}, "no effect on every"),
    "an interval of nothing": ({"cron": None, "every": 0}, "from 0.1"),
    "a true interval": ({"cron": None, "every": True}, "not True"),
    "an unknown key": ({"crom": "* * * * *"}, "did you mean 'cron'"),
    "a key of nobody": ({"xyzzy": 1}, "known are"),
    "overlap of the wrong type": ({"overlap": "no"}, "overlap is True or False"),
    "a grace of nothing": ({"grace": 0}, "grace is a number of seconds from 1"),
    "a grace of the wrong type": ({"grace": "1h"}, "grace is a number of seconds, not"),
    "a true grace": ({"grace": True}, "grace is a number of seconds, not"),
    "an unknown priority": ({"priority": "URGENT"}, "priority is"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_an_error_of_the_check_that_names_the_schedule(settings, mistake):
    entry, message = MISTAKES[mistake]
    settings.GEARMAN_SCHEDULE = {"nightly": {**ENTRY, **entry}, "good": ENTRY}

    [error] = check_schedules()

    assert error.id == "django_gearman.E020"
    assert error.msg.startswith("GEARMAN_SCHEDULE['nightly']: ")
    with pytest.raises(ImproperlyConfigured, match=message):
        schedules()
    assert [each.name for each in read_schedules()[0]] == ["good"]


@pytest.mark.parametrize("setting", [[ENTRY], "nightly", 7, None])
def test_a_setting_of_the_wrong_type(settings, setting):
    settings.GEARMAN_SCHEDULE = setting

    [error] = check_schedules()
    assert error.msg.startswith("GEARMAN_SCHEDULE is a dict")


@pytest.mark.parametrize("name", ["", " ", 7, None, "a\nb", "n" * 300])
def test_a_name_that_is_none(settings, name):
    settings.GEARMAN_SCHEDULE = {name: ENTRY}

    [error] = check_schedules()
    assert "the name of a schedule" in error.msg


@pytest.mark.parametrize("entry", [None, "0 3 * * *", [1], 7])
def test_an_entry_that_is_not_a_dict(settings, entry):
    settings.GEARMAN_SCHEDULE = {"nightly": entry}

    [error] = check_schedules()
    assert "a schedule is a dict" in error.msg


def test_two_schedules_of_one_name(settings, declare):
    @declare(name="shop.report", cron="@daily")
    def report() -> None: ...

    settings.GEARMAN_SCHEDULE = {"shop.report": ENTRY}

    [error] = check_schedules()
    assert "two schedules of this name" in error.msg


def test_a_scheduled_job_that_needs_arguments(declare):
    @declare(name="shop.report", cron="@daily")
    def report(days: int) -> None: ...

    [error] = check_schedules()
    assert "@gearman_job of shop.report" in error.msg
    assert "missing a required argument: 'days'" in error.msg


@pytest.mark.parametrize(("name", "value"), [("cron", 7), ("cron", True), ("cron_timezone", 1)])
def test_declarations_of_the_wrong_type(declare, name, value):
    with pytest.raises(TypeError, match=f"{name} of job shop.report is a string"):

        @declare(name="shop.report", **{"cron": "@daily", name: value})
        def report() -> None: ...


def test_a_time_zone_without_a_cron(declare):
    with pytest.raises(ValueError, match="no effect without cron"):

        @declare(name="shop.report", cron_timezone="UTC")
        def report() -> None: ...


def test_the_app_is_missing(settings, monkeypatch):
    monkeypatch.setattr(checks, "registry", JobRegistry())
    settings.GEARMAN_SCHEDULE = {"nightly": ENTRY}
    settings.INSTALLED_APPS = [
        app for app in settings.INSTALLED_APPS if not app.startswith("django_gearman.contrib.")
    ]

    [error] = [each for each in checks.check_settings() if each.id == "django_gearman.E017"]
    assert "GEARMAN_SCHEDULE needs the scheduler" in error.msg


def test_grace_is_an_hour_or_half_the_period(settings):
    due = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)

    def grace(**entry: object) -> float:
        return only(settings, **entry).grace_of(due).total_seconds()

    assert grace(cron="0 0 * * *") == 3600
    assert grace(cron="0 * * * *") == 1800
    assert grace(cron=None, every=2) == 10
    assert grace(cron="0 * * * *", grace=600) == 600
