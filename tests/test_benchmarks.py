"""The benchmark's own arithmetic, on made-up figures; and one case of it for real, without a server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.goals import DRAIN, OURS, ROUND_TRIP, SUBMIT, C, verdicts
from benchmarks.picture import write_svg
from benchmarks.report import table
from benchmarks.results import Results, ratio

ROOT = Path(__file__).parent.parent


@pytest.fixture
def results() -> Results:
    """Return figures of two rounds, in the second of which the machine was twice as slow."""
    results = Results()
    for number, slowness in ((1, 1), (2, 2)):
        for system, microseconds, rate in ((C, 100, 9000), (OURS, 130, 18_000), ("huey", 999, 900)):
            turn = number, 0
            results.add(turn, system, ROUND_TRIP, "us", microseconds * slowness)
            results.add(turn, system, SUBMIT, "jobs/s", rate / slowness)
            results.add(turn, system, DRAIN, "jobs/s", rate / slowness)
    return results


def test_a_figure_is_the_median_of_its_rounds_and_tells_their_spread(results):
    figure = results.get(ROUND_TRIP, C)

    assert (figure.median, figure.spread) == (150, (100, 200))


def test_a_ratio_compares_what_was_measured_in_one_round(results):
    results.add((3, 0), C, ROUND_TRIP, "us", 5000)  # a round that we have no figure of

    assert ratio(results.get(ROUND_TRIP, OURS), results.get(ROUND_TRIP, C)) == pytest.approx(1.3)


def test_goals_are_met_missed_or_not_measured(results):
    found = {verdict.case: (verdict.measured, verdict.met) for verdict in verdicts(results)}

    assert found[ROUND_TRIP] == ("1.30", False)
    assert found[DRAIN] == ("2.00", True)
    assert found[f"{ROUND_TRIP}: better than the best peer"] == ("7.68", True)
    assert found["memory of 5 workers"] == ("-", None)


def test_the_table_has_figures_notes_and_goals(results):
    results.note("Redis is not there")

    message = table(results)

    assert "libgearman C                  150        100        200 us" in message
    assert "Redis is not there" in message
    assert "goal: <= 1.15 x libgearman C" in message


def test_the_picture_is_svg_with_a_bar_for_each_figure(results, tmp_path):
    write_svg(tmp_path / "results.svg", results)

    picture = ElementTree.parse(tmp_path / "results.svg").getroot()
    bars = [rect for rect in picture.iter("{http://www.w3.org/2000/svg}rect") if "x" in rect.attrib]
    assert len(bars) == 9


@pytest.mark.integration
@pytest.mark.gearmand
def test_it_measures(tmp_path):
    options = ["--quick", "--rounds", "1", "--only", "gearman", "--output", str(tmp_path)]
    subprocess.run(
        [sys.executable, "-m", "benchmarks", *options], cwd=ROOT, check=True, timeout=110
    )

    written = json.loads((tmp_path / "results.json").read_text())
    measured = {figure["figure"] for figure in written["figures"]}
    assert {ROUND_TRIP, SUBMIT, DRAIN, "memory of 5 workers"} <= measured
    assert not [note for note in written["notes"] if "could not be measured" in note]
