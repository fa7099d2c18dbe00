"""Failures in groups."""

from __future__ import annotations

import datetime

import pytest
from django.utils import timezone

from django_gearman.contrib.store import grouping
from django_gearman.contrib.store.finding import Choice
from django_gearman.contrib.store.grouping import groups_of
from tests.contrib.store.recorded import failed, recorded

pytestmark = pytest.mark.django_db


def test_failures_of_one_job_exception_and_place_are_one_group():
    for number, seconds in enumerate((300, 200, 100)):
        failed("shop.pay", "ValueError", f"card {number}\nsecond line", ago=seconds)
    failed("shop.pay", "ValueError", function="elsewhere")
    failed("shop.pay", "OSError")
    recorded("shop.pay")

    found = groups_of(Choice())
    largest = found.groups[0]

    assert (found.count, found.total, len(found.groups), found.since) == (5, 3, 3, None)
    assert largest.key == ("shop.pay", "ValueError", largest.fingerprint)
    assert (largest.count, largest.error.first_line) == (3, "card 2")
    assert (largest.frame.place, largest.frame.is_own) == ("/srv/shop/jobs.py:12 in pay", True)
    assert round((largest.last - largest.first).total_seconds()) == 200


def test_the_bars_have_each_failure_once():
    end = timezone.now()
    for seconds in (3599, 3500, 1800, 1, 1):
        failed(ago=seconds)

    [group] = groups_of(Choice(since=end - datetime.timedelta(hours=1))).groups

    assert sum(group.bars) == 5
    assert (group.bars[0], group.bars[-1]) == (2, 2)
    assert group.bars[11:13] in ([1, 0], [0, 1])


def test_a_choice_narrows_the_groups():
    failed("shop.pay", ago=100)
    failed("shop.send", ago=7200)

    recent = Choice(since=timezone.now() - datetime.timedelta(hours=1))
    assert [group.job for group in groups_of(recent).groups] == ["shop.pay"]
    assert [group.job for group in groups_of(Choice(job="shop.send")).groups] == ["shop.send"]
    assert groups_of(Choice(job="none")).groups == []


def test_the_newest_failures_are_grouped_if_there_are_too_many(monkeypatch):
    monkeypatch.setattr(grouping, "MOST_GROUPED", 3)
    for seconds in (50, 40, 30, 20, 10):
        failed(ago=seconds)

    found = groups_of(Choice())

    assert found.since is not None
    assert found.count == 4  # one more than are counted shows that there are more
    assert groups_of(Choice(since=timezone.now() - datetime.timedelta(seconds=35))).since is None
    assert groups_of(Choice(until=timezone.now() - datetime.timedelta(seconds=25))).since is None


def test_the_largest_groups_come_first_and_the_others_later():
    for name in ("a", "b", "c", "c"):
        failed(name)

    found = groups_of(Choice(), most=2)
    others = groups_of(Choice(), first=2, most=2)

    assert [group.job for group in found.groups] == ["c", "a"]
    assert [group.job for group in others.groups] == ["b"]
    assert {(each.total, each.count) for each in (found, others)} == {(3, 4)}


def test_the_number_of_queries_does_not_grow_with_the_groups(django_assert_num_queries):
    failed("first")
    with django_assert_num_queries(4):
        groups_of(Choice())
    for number in range(40):
        failed(f"shop.job{number}", ago=number)

    with django_assert_num_queries(4):
        assert len(groups_of(Choice(), most=50).groups) == 41


def test_damaged_records_have_a_group_too():
    failed(errors={"not": "a list"})
    failed("b", errors=[17, None, "text"])
    failed("c", errors=[], exception="", fingerprint="")
    failed("d", finished_at=None)

    found = {group.job: group for group in groups_of(Choice()).groups}

    assert found.keys() == {"shop.pay", "b", "c", "d"}
    assert found["b"].error.message == "text"
    assert (found["c"].error.message, found["c"].frame, found["d"].last) == ("", None, None)


def test_failures_at_one_instant_are_one_group():
    ended = timezone.now() - datetime.timedelta(seconds=9)
    for _ in range(3):
        failed(finished_at=ended)

    [group] = groups_of(Choice()).groups

    assert (group.count, group.first, group.last) == (3, ended, ended)
    assert group.error.message == "no"
