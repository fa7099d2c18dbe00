"""Drawings and durations in the pages."""

from __future__ import annotations

import re

import pytest

from django_gearman.contrib.dashboard.templatetags.gearman_dashboard import bar, duration, sparkline


def points(drawing: str) -> list[list[tuple[float, float]]]:
    lines = re.findall(r'points="([^"]*)"', drawing)
    return [[tuple(map(float, each.split(","))) for each in line.split()] for line in lines]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *(
            (None, "–"),
            (-5, "0 s"),
            (0, "0 s"),
            (0.0004, "0 s"),
            (0.25, "250 ms"),
            (0.9999, "1 s"),
            (59.9, "59 s"),
        ),
        *((1, "1 s"), (1.25, "1.2 s"), (9.94, "9.9 s"), (9.96, "9 s"), (12.7, "12 s")),
        *((60, "1 min"), (61, "1 min 1 s"), (3599, "59 min 59 s"), (3600, "1 h")),
        *((7500, "2 h 5 min"), (86400, "1 d"), (100_000, "1 d 3 h")),
    ],
)
def test_durations_have_two_units_at_most(seconds, text):
    assert duration(seconds) == text


def test_a_sparkline_rises_with_its_values_and_has_gaps():
    [first, second] = points(sparkline([0, 5, 10, None, 10], "label"))

    assert [y for _, y in first] == sorted([y for _, y in first], reverse=True)
    assert len({y for _, y in second}) == 1
    assert [x for x, _ in first] == [0, 30, 60]


@pytest.mark.parametrize("values", [[], [None], [0], [0, 0], [None, 10**9]])
def test_a_sparkline_of_little_is_drawn(values):
    assert all(0 <= y <= 24 for line in points(sparkline(values, "")) for _, y in line)


@pytest.mark.parametrize(
    ("part", "whole", "width"), [(0, 0, 0), (1, 0, 0), (1, 4, 25), (4, 4, 100), (9, 4, 100)]
)
def test_a_bar_is_a_part_of_the_whole(part, whole, width):
    assert f'class="gearman-fill" width="{width:.1f}"' in bar(part, whole, "")


def test_labels_are_escaped():
    for drawing in (bar(1, 2, '"><b>'), sparkline([1], '"><b>')):
        assert "<b>" not in drawing
        assert 'aria-label="&quot;&gt;&lt;b&gt;"' in drawing
