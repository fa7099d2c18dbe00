"""Equal arguments make one unique."""

from __future__ import annotations

import datetime
from decimal import Decimal

import pytest

from django_gearman import gearman_job
from tests.support.values import BERLIN, UTC


@pytest.mark.gearman("memory")
@pytest.mark.parametrize(
    ("default", "same", "others"),
    [
        (0.0, [0.0], [-0.0, 0, False, None, Decimal(0)]),
        (1, [1], [True, 1.0, Decimal(1), "1"]),
        (float("nan"), [float("nan")], [float("inf"), "nan"]),
        (Decimal("1.0"), [Decimal("1.0")], [Decimal(1), Decimal("1.00"), 1.0]),
        ([1], [[1]], [[True], [1.0], (1,)]),
        ({"a": 1, "b": [2]}, [{"b": [2], "a": 1}], [{"a": True, "b": [2]}, {"b": [2]}]),
        ({1, 2}, [{2, 1}], [frozenset({1, 2}), {1.0, 2}, [1, 2]]),
        (
            datetime.datetime(2026, 10, 25, 2, 30),
            [datetime.datetime(2026, 10, 25, 2, 30)],
            [datetime.datetime(2026, 10, 25, 2, 30, fold=1)],
        ),
        (
            datetime.datetime(2026, 6, 1, 12, tzinfo=UTC),
            [datetime.datetime(2026, 6, 1, 12, tzinfo=UTC)],
            [datetime.datetime(2026, 6, 1, 14, tzinfo=BERLIN)],
        ),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_arguments_are_the_same_if_a_job_cannot_tell_them_apart(
    default, same, others, gearman_client
):
    @gearman_job(name="has-a-default")
    def has_a_default(value=default): ...

    once = has_a_default.using(unique=True)
    first = once.do_background().handle

    assert {once.do_background(value).handle for value in [default, *same]} == {first}
    handles = {once.do_background(value).handle for value in others}
    assert len(handles | {first}) == len(others) + 1
