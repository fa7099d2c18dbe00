"""The times of schedules, also when clocks change."""

from __future__ import annotations

import datetime
from itertools import islice, pairwise

import pytest

from django_gearman.contrib.store.scheduler.timing import Cron, Every

UTC = datetime.UTC


def utc(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text).replace(tzinfo=UTC)


def times(timing, start: str, number: int) -> list[str]:
    return [f"{due:%Y-%m-%d %H:%M}" for due in islice(timing.times(utc(start)), number)]


# Each table was written down from the rules of Debian's cron, and the zones' offsets.
CHANGES = {
    # Berlin: 2026-10-25 03:00 +2 becomes 02:00 +1; 2027-03-28 02:00 +1 becomes 03:00 +2.
    "a time that comes twice is due once": (
        ("30 2 * * *", "Europe/Berlin", "2026-10-23 12:00"),
        ["2026-10-24 00:30", "2026-10-25 00:30", "2026-10-26 01:30"],
    ),
    "a time that does not exist is due at the next that exists": (
        ("30 2 * * *", "Europe/Berlin", "2027-03-26 12:00"),
        ["2027-03-27 01:30", "2027-03-28 01:00", "2027-03-29 00:30"],
    ),
    "every half hour goes on through the hour that comes twice": (
        ("*/30 * * * *", "Europe/Berlin", "2026-10-24 23:59"),
        [
            "2026-10-25 00:00",
            "2026-10-25 00:30",
            "2026-10-25 01:00",
            "2026-10-25 01:30",
            "2026-10-25 02:00",
        ],
    ),
    "every half hour goes on through the hour that does not exist": (
        ("*/30 * * * *", "Europe/Berlin", "2027-03-28 00:29"),
        ["2027-03-28 00:30", "2027-03-28 01:00", "2027-03-28 01:30"],
    ),
    "every hour": (
        ("0 * * * *", "Europe/Berlin", "2026-10-24 23:30"),
        ["2026-10-25 00:00", "2026-10-25 01:00", "2026-10-25 02:00"],
    ),
    "midnight keeps its local time": (
        ("@daily", "Europe/Berlin", "2026-10-24 12:00"),
        ["2026-10-24 22:00", "2026-10-25 23:00"],
    ),
    # Lord Howe: 2027-04-04 02:00 +11 becomes 01:30 +10:30; 2026-10-04 02:00 +10:30 becomes 02:30 +11.
    "half an hour that comes twice": (
        ("45 1 * * *", "Australia/Lord_Howe", "2027-04-02 20:00"),
        ["2027-04-03 14:45", "2027-04-04 15:15"],
    ),
    "half an hour that does not exist": (
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-02 20:00"),
        ["2026-10-03 15:30", "2026-10-04 15:15"],
    ),
    # Casablanca leaves summer time for Ramadan: 2027-02-07 03:00 +1 becomes 02:00 +0, and
    # 2027-03-14 02:00 +0 becomes 03:00 +1.
    "Ramadan begins": (
        ("30 2 * * *", "Africa/Casablanca", "2027-02-05 12:00"),
        ["2027-02-06 01:30", "2027-02-07 01:30", "2027-02-08 02:30"],
    ),
    "Ramadan ends": (
        ("30 2 * * *", "Africa/Casablanca", "2027-03-12 12:00"),
        ["2027-03-13 02:30", "2027-03-14 02:00", "2027-03-15 01:30"],
    ),
}


@pytest.mark.parametrize("case", CHANGES)
def test_changes_of_the_clock(case):
    (expression, zone, start), expected = CHANGES[case]

    assert times(Cron(expression, zone), start, len(expected)) == expected


def test_each_fixed_time_is_due_once_a_day_through_two_years():
    timing = Cron("30 2 * * *", "Europe/Berlin")
    start = utc("2026-01-01 00:00")

    found = [*islice(timing.times(start), 730)]

    assert found == sorted({*found})
    days = [due.astimezone(timing._zone).date() for due in found]
    assert days == [days[0] + datetime.timedelta(days=n) for n in range(730)]


@pytest.mark.parametrize("minute", range(0, 60, 7))
def test_no_time_of_a_repeated_hour_is_due_again_whenever_one_looks(minute):
    timing = Cron("30 2 * * *", "Europe/Berlin")
    second_hour = utc("2026-10-25 01:00") + datetime.timedelta(minutes=minute)

    assert timing.next(second_hour) == utc("2026-10-26 01:30")
    assert timing.latest(utc("2026-10-24 12:00"), second_hour) == utc("2026-10-25 00:30")


def test_an_interval_counts_from_the_epoch():
    assert times(Every(1800), "2026-01-01 00:10", 2) == ["2026-01-01 00:30", "2026-01-01 01:00"]
    assert times(Every(datetime.timedelta(hours=7)), "1970-01-01 00:00", 2) == [
        "1970-01-01 07:00",
        "1970-01-01 14:00",
    ]


def test_an_interval_may_be_a_fraction():
    every = Every(0.3)
    found = [*islice(every.times(utc("2026-01-01 00:00")), 1000)]

    gaps = {later - earlier for earlier, later in pairwise(found)}
    assert gaps == {datetime.timedelta(milliseconds=300)}


@pytest.mark.parametrize("timing", [Every(60), Cron("* * * * *", "UTC")], ids=["every", "cron"])
def test_the_latest_time_between_two(timing):
    moment = utc("2026-01-01 12:00:30")

    assert timing.latest(utc("2026-01-01 00:00"), moment) == utc("2026-01-01 12:00")
    assert timing.latest(utc("2026-01-01 12:00"), moment) is None
    assert timing.latest(utc("2026-01-01 11:59"), utc("2026-01-01 12:00")) == utc(
        "2026-01-01 12:00"
    )


def test_the_time_zone_of_the_project_is_the_default(settings):
    settings.TIME_ZONE = "Asia/Kathmandu"

    assert times(Cron("0 3 * * *"), "2026-01-01 00:00", 1) == ["2026-01-01 21:15"]


@pytest.mark.parametrize(
    ("name", "expression"),
    [
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@weekly", "0 0 * * 0"),
        ("@YEARLY", "0 0 1 1 *"),
    ],
)
def test_names_stand_for_expressions(name, expression):
    assert Cron(name, "UTC").digest == Cron(expression, "UTC").digest


def test_another_timing_has_another_digest():
    timings = [
        Cron("0 3 * * *", "UTC"),
        Cron("0 4 * * *", "UTC"),
        Cron("0 3 * * *", "Asia/Tokyo"),
        Every(60),
    ]

    assert len({timing.digest for timing in timings}) == 4
    assert Cron(" 0  3 * * * ", "UTC").digest == Cron("0 3 * * *", "UTC").digest


def test_words_for_people():
    assert Cron("0 9 * * MON-FRI", "Europe/Berlin").words == (
        "At 09:00 on Monday through Friday (Europe/Berlin)"
    )
    assert Every(90).words == "every 90 s"


WRONG_CRONS = {
    "0 0 31 2 *": "Bad day-of-month",
    "0 0 30 FEB *": "Bad day-of-month",
    "0 0 29 2 MON#5 *": "five fields",
    "61 * * * *": "Bad minute",
    "* * * *": "five fields",
    "0 0 3 * * *": "five fields.*every",
    "": "five fields",
    "@dayly": "did you mean '@daily'",
    "@reboot": "not a known name",
    "a b c d e": "Bad minute",
    "*/0 * * * *": "Bad minute",
    "5-1 * * * *": "Bad minute",
    "0 0 * * 8": "Bad day-of-week",
}


@pytest.mark.parametrize("expression", WRONG_CRONS)
def test_a_wrong_expression_says_what_is_wrong(expression):
    with pytest.raises(ValueError, match=WRONG_CRONS[expression]):
        Cron(expression, "UTC")


@pytest.mark.parametrize("value", [None, 5, True, b"* * * * *", ["* * * * *"]])
def test_an_expression_is_a_string(value):
    with pytest.raises(TypeError, match="cron is a string"):
        Cron(value, "UTC")


@pytest.mark.parametrize(
    ("zone", "message"),
    [
        ("Europe/Berln", "did you mean 'Europe/Berlin'"),
        ("Europe", "does not exist"),
        ("../etc/passwd", "does not exist"),
        ("", "does not exist"),
        ("a\0b", "does not exist"),
        ("UTC" * 200, "does not exist"),
    ],
)
def test_an_unknown_time_zone(zone, message):
    with pytest.raises(ValueError, match=message):
        Cron("* * * * *", zone)


@pytest.mark.parametrize("value", [0, -1, -0.5, float("nan"), float("inf"), 1e12, 0.01])
def test_an_interval_that_is_not_a_time(value):
    with pytest.raises(ValueError, match="every is a number of seconds from"):
        Every(value)


@pytest.mark.parametrize("value", [True, False, None, "60", [60]])
def test_an_interval_that_is_not_a_number(value):
    with pytest.raises(TypeError, match="every is a number of seconds, not"):
        Every(value)


def test_cronsim_is_missing(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "cronsim", None)

    with pytest.raises(ValueError, match=r"pip install 'django-gearman\[schedule\]'"):
        Cron("* * * * *", "UTC")
