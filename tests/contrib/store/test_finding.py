"""Finding records by status, job, error, queue, time and id."""

from __future__ import annotations

import datetime

import pytest
from django.utils import timezone

from django_gearman.contrib.store.finding import Choice, count_up_to
from django_gearman.contrib.store.models import JobRecord
from tests.contrib.store.recorded import failed, recorded

pytestmark = pytest.mark.django_db
Status = JobRecord.Status


def ago(seconds: float) -> datetime.datetime:
    return timezone.now() - datetime.timedelta(seconds=seconds)


def test_each_filter_chooses_by_its_column():
    job = failed("shop.pay", "shop.Refused", queue="money", ago=100)
    others = [failed("shop.send", ago=300), failed("shop.pay", "OSError", ago=200), recorded()]
    fingerprint = job.fingerprint

    for choice in (
        Choice(job="shop.pay", exception="shop.Refused"),
        Choice(exception="shop.Refused"),
        Choice(exception="Refused"),
        Choice(fingerprint=fingerprint),
        Choice(queue="money"),
        Choice(since=ago(150)),
        Choice(ids=(job.pk, others[2].pk)),
    ):
        assert [*choice.records()] == [job], choice
    assert [*Choice().records()] == [job, others[1], others[0]]
    assert [*Choice(until=ago(150)).records()] == [others[1], others[0]]


@pytest.mark.parametrize(
    "value", ["", "%", "nope", "\0", "'; DROP TABLE", "x" * 5000, "é\N{SNOWMAN}"]
)
def test_a_value_that_nothing_has_chooses_nothing(value):
    failed()

    for name in ("job", "exception", "fingerprint", "queue"):
        assert not Choice(**{name: value}).records().exists()
    assert not Choice(ids=(value,)).records().exists()
    assert not Choice(ids=()).records().exists()


def test_part_of_a_class_name_is_not_a_name():
    failed(exception="shop.Refused")

    assert not Choice(exception="fused").records().exists()
    assert not Choice(exception="shop").records().exists()


def test_jobs_that_have_not_ended_are_listed_by_the_time_of_their_submission():
    old, young = recorded(ago=300), recorded(ago=10)
    running = recorded(ago=5, status=Status.RUNNING)

    assert [*Choice(Status.READY).records()] == [young, old]
    assert [*Choice(Status.READY, since=ago(100)).records()] == [young]
    assert [*Choice(Status.RUNNING).records()] == [running]


def test_a_count_stops_at_its_limit():
    for _ in range(5):
        failed()

    records = Choice().records()
    assert [count_up_to(records), count_up_to(records, 5), count_up_to(records, 3)] == [5, 5, 4]
