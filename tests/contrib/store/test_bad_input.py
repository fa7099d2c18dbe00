"""Odd values for the store's functions: each has a clear answer."""

from __future__ import annotations

import datetime

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone

from django_gearman import GearmanClient, conf
from django_gearman.contrib.store.actions import discard, failures, retry
from django_gearman.contrib.store.models import JobRecord, OutboxJob
from django_gearman.exceptions import ResultUnavailable
from tests.contrib import gearman_jobs as jobs
from tests.contrib.store.recorded import failed

pytestmark = [pytest.mark.django_db, pytest.mark.gearman("memory", raise_failures=False)]

UNSTORABLE = ["\0", "a\0b", "\ud800"]


# Ids that no database can store


@pytest.mark.parametrize("job_id", UNSTORABLE)
def test_an_id_that_cannot_be_stored_is_unknown(job_id):
    with pytest.raises(ResultUnavailable, match="there is no record"):
        GearmanClient().get_result(job_id, timeout=0)
    assert retry([job_id]).count == discard([job_id]) == 0


# What retry and discard take


def test_records_may_be_a_part_of_a_query_set_or_a_union():
    for name in ("a", "b", "c"):
        failed(name)

    first, second = (failures(job=name).order_by() for name in ("a", "b"))

    assert discard(failures(job="c")[:1]) == 1
    assert discard(first.union(second)[:1]) == 1
    assert discard(failures().values_list("pk", flat=True)) == 1


def test_records_may_be_a_list_of_records():
    row = failed()

    assert discard([row, row.pk, row]) == 1


@pytest.mark.parametrize("action", [retry, discard])
@pytest.mark.parametrize(
    ("records", "message"),
    [
        (None, "pass ids in a list, or a query set of records, not None"),
        (5, "pass ids in a list, or a query set of records, not 5"),
        ("abc", "pass a list of ids, not one: .'abc'."),
        ([5], "a job's id is a string, JobRequest.id, not 5"),
        ([None], "a job's id is a string, JobRequest.id, not None"),
        ([b"x"], "a job's id is a string, JobRequest.id, not b'x'"),
    ],
)
def test_other_records_are_refused(action, records, message):
    with pytest.raises(TypeError, match=message):
        action(records)


@pytest.mark.parametrize("action", [retry, discard])
def test_query_sets_of_other_rows_are_refused(action):
    failed()

    with pytest.raises(TypeError, match="records of jobs, not a query set of OutboxJob"):
        action(OutboxJob.objects.all())
    with pytest.raises(TypeError, match=r"a job's id is a string, JobRequest\.id, not {'pk': "):
        action(failures().values("pk"))


# Filters


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"job": jobs.double}, "job is a name like 'shop.charge', not <Job tests.contrib.double"),
        ({"exception": ValueError}, "exception is a name like 'KeyError', not <class 'ValueError'"),
        ({"since": "2h"}, "since is a datetime or a timedelta, not '2h'"),
        ({"since": 7200}, "since is a datetime or a timedelta, not 7200"),
        ({"since": datetime.date(2026, 11, 30)}, "since is a datetime or a timedelta, not"),
    ],
)
def test_filters_of_another_type_are_refused(choice, message):
    with pytest.raises(TypeError, match=message):
        failures(**choice)


@pytest.mark.parametrize("since", [datetime.timedelta.max, datetime.datetime.min])
def test_a_time_too_far_away_is_refused(since):
    with pytest.raises(ValueError, match="too far away"):
        failures(since=since)


def test_a_time_without_a_zone_is_in_the_current_one():
    failed(ago=60)

    now = timezone.localtime().replace(tzinfo=None)

    assert failures(since=now - datetime.timedelta(hours=1)).count() == 1
    assert failures(since=now).count() == 0


# Times and numbers without end


@pytest.mark.parametrize("moment", [datetime.datetime.max, datetime.datetime.min])
def test_a_job_at_the_end_of_time_has_a_record_that_pages_can_show(moment, caplog):
    run_after = moment.replace(tzinfo=datetime.UTC)
    request = jobs.double.using(run_after=run_after).do_background(1)
    record = JobRecord.objects.get(pk=request.id)

    for hours in (-14, 14):
        zone = datetime.timezone(datetime.timedelta(hours=hours))
        assert record.run_after is None or timezone.localtime(record.run_after, zone)
    assert not caplog.records


def test_a_ttl_above_all_numbers_is_refused(settings):
    settings.GEARMAN_RESULT_TTL = 10**400

    with pytest.raises(ImproperlyConfigured, match="GEARMAN_RESULT_TTL is a number of seconds"):
        conf.result_ttl()
