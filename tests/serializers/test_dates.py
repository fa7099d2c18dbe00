"""Dates and times travel with their zone and fold, under a frozen clock too."""

from __future__ import annotations

import datetime
import json
import time
import zoneinfo

import freezegun
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.app import gearman_jobs as jobs
from tests.support.values import BERLIN, JSON, TAG, UTC, described, fixed, travel

# Dates and times


offsets = st.timedeltas(
    min_value=datetime.timedelta(hours=-23), max_value=datetime.timedelta(hours=23)
).filter(lambda offset: not offset or abs(offset) >= datetime.timedelta(seconds=1))
fixed_zones = st.one_of(
    offsets.map(datetime.timezone), st.builds(datetime.timezone, offsets, st.text())
)
zones = st.one_of(st.none(), st.timezones(), fixed_zones)


@given(value=st.datetimes(timezones=zones, allow_imaginary=True), fold=st.sampled_from([0, 1]))
def test_a_datetime_comes_back_with_its_zone_and_fold(value, fold):
    value = value.replace(fold=fold)

    assert described(travel(value)) == described(value)


@given(value=st.times(timezones=st.none() | fixed_zones), fold=st.sampled_from([0, 1]))
def test_a_time_comes_back_with_its_offset_and_fold(value, fold):
    value = value.replace(fold=fold)

    assert described(travel(value)) == described(value)


@pytest.mark.parametrize(
    "value",
    [
        datetime.datetime(2026, 10, 25, 2, 30, fold=1),
        datetime.datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1),
        datetime.datetime(2026, 3, 29, 2, 30, tzinfo=BERLIN, fold=1),  # an hour that was left out
        datetime.datetime(2026, 6, 1, tzinfo=BERLIN, fold=1),  # where it makes no difference
        datetime.datetime(2026, 6, 1, tzinfo=UTC, fold=1),
        datetime.datetime(2026, 6, 1, tzinfo=fixed(1, "CET")),
        datetime.datetime(2026, 6, 1, tzinfo=fixed(1, "a [name=] with\nnoise]]")),
        datetime.datetime(2026, 6, 1, tzinfo=fixed(0, "")),
        datetime.datetime(2026, 6, 1, tzinfo=zoneinfo.ZoneInfo("UTC")),
        datetime.datetime.min,
        datetime.datetime.max,
        datetime.datetime.max.replace(tzinfo=fixed(-5)),
        datetime.datetime(1, 1, 1, tzinfo=BERLIN),  # an offset with seconds
        datetime.datetime(2024, 2, 29, tzinfo=datetime.timezone(datetime.timedelta(0, 1, 1))),
        datetime.time(2, 30, fold=1),
        datetime.time(2, 30, tzinfo=UTC, fold=1),
        datetime.time.max,
    ],
    ids=str,
)
def test_moments_that_are_easily_lost(value):
    assert described(travel(value)) == described(value)


@pytest.mark.parametrize(
    "value", [datetime.date.min, datetime.date.max, datetime.date(2024, 2, 29)], ids=str
)
def test_dates_at_the_edges(value):
    assert repr(travel(value)) == repr(value)


def test_readers_that_know_nothing_of_fold_read_the_rest():
    written = json.loads(JSON.dumps([datetime.datetime(2026, 10, 25, 2, 30, fold=1)]))[0]["value"]

    assert datetime.datetime.fromisoformat(written) == datetime.datetime(2026, 10, 25, 2, 30)
    written = json.loads(JSON.dumps([datetime.time(2, 30, fold=1)]))[0]["value"]
    assert datetime.time.fromisoformat(written) == datetime.time(2, 30)


@pytest.mark.parametrize(
    ("text", "fold"),
    [
        ("2026-10-25T02:30:00+02:00[Europe/Berlin]", 0),
        ("2026-10-25T02:30:00+01:00[Europe/Berlin]", 1),
        ("2026-10-25t02:30:00+01:00[Europe/Berlin]", 1),
        ("2026-10-25T02:30:00[Europe/Berlin]", 0),
    ],
)
def test_other_spellings_of_a_zone_are_read(text, fold):
    value = JSON.loads(json.dumps({TAG: "datetime", "value": text}).encode())

    assert described(value) == described(
        datetime.datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=fold)
    )


# freezegun


def test_frozen_dates_travel_as_plain_ones():
    with freezegun.freeze_time("2026-01-02 03:04:05"):
        now, today = datetime.datetime.now(UTC), datetime.date.today()
        written = JSON.dumps([now, today, datetime.datetime.now(), {now}])
        again = JSON.dumps(JSON.loads(written))

    plain = datetime.datetime(2026, 1, 2, 3, 4, 5)
    aware = plain.replace(tzinfo=UTC)
    assert JSON.loads(written) == [aware, datetime.date(2026, 1, 2), plain, {aware}]
    assert again == written == JSON.dumps([aware, datetime.date(2026, 1, 2), plain, {aware}])
    assert [type(item) for item in JSON.loads(written)[:2]] == [datetime.datetime, datetime.date]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"])
def test_a_frozen_local_time_travels_as_one_does_that_is_not_frozen(zone, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("TZ", zone)
        time.tzset()
        with freezegun.freeze_time("2026-07-02"):
            now = datetime.datetime.now().astimezone()
            written = JSON.dumps(now)
        plain = datetime.datetime.fromtimestamp(now.timestamp()).astimezone()
    time.tzset()

    assert JSON.loads(written) == plain
    assert JSON.loads(written).tzname() == plain.tzname()
    assert written == JSON.dumps(plain)


def test_plain_dates_are_read_and_written_under_a_frozen_clock():
    values = [
        datetime.datetime(2026, 1, 1, tzinfo=BERLIN),
        datetime.datetime(2026, 10, 25, 2, 30, fold=1),
        datetime.date(2026, 1, 1),
        datetime.time(1),
    ]
    written = JSON.dumps(values)
    with freezegun.freeze_time("2026-01-02"):
        assert JSON.dumps(values) == written
        back = JSON.loads(written)

    assert list(map(repr, back)) == list(map(repr, values))


@pytest.mark.parametrize("serializer", ["json", "pickle"])
def test_a_job_gets_the_dates_of_a_frozen_caller(settings, serializer):
    settings.GEARMAN_SERIALIZER = serializer
    with freezegun.freeze_time("2026-01-02"):
        now = datetime.datetime.now(UTC)
        assert jobs.echo.do({"at": now, "day": datetime.date.today()}) == {
            "at": now,
            "day": datetime.date(2026, 1, 2),
        }
