"""The benchmark's own arithmetic, on made-up figures; and one case of it for real, without a server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.goals import DRAIN, OURS, ROUND_TRIP, SUBMIT, C, verdicts
from benchmarks.growth.curves import Curve
from benchmarks.growth.report import BEGIN, END, write_table
from benchmarks.growth.report import write_svg as write_growth_svg
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


@pytest.fixture
def curves() -> dict[str, Curve]:
    """Return a curve with two quantities and a variant, and one with a single point."""
    curve = Curve("round trip", "worker processes")
    for x, cost in ((1, 90.0), (32, 1234.5)):
        curve.add(x, client=cost, gearmand_w1=cost / 10)
    single = Curve("map", "results <waited> for")
    single.add(1, client=3.21)
    return {"processes": curve, "results": single}


def test_the_table_of_growth_has_a_row_for_each_series(curves, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"Before\n{BEGIN}\nold\n{END}\nAfter\n")

    write_table(page, curves)
    write_table(page, curves)  # once more changes nothing

    text = page.read_text()
    assert "| worker processes (round trip) | client | 1: 90, 32: 1,234 |\n" in text
    assert "|  | gearmand w1 | 1: 9.0, 32: 123 |\n" in text
    assert (text.startswith("Before\n"), text.endswith(f"{END}\nAfter\n")) == (True, True)
    assert "old" not in text
    assert text.count("worker processes") == 1


def test_a_page_without_a_place_for_the_table_is_refused(curves, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"only {BEGIN}")

    with pytest.raises(ValueError, match="no place for the table"):
        write_table(page, curves)
    assert page.read_text() == f"only {BEGIN}"


def test_the_plot_of_growth_is_svg_and_no_label_is_over_another(curves, tmp_path):
    write_growth_svg(tmp_path / "growth.svg", curves)

    picture = ElementTree.parse(tmp_path / "growth.svg").getroot()
    texts = [*picture.iter("{http://www.w3.org/2000/svg}text")]
    labels = [each for each in texts if each.attrib.get("fill")]
    assert [each.text for each in labels] == ["client", "gearmand w1", "client"]
    assert float(labels[1].attrib["y"]) >= float(labels[0].attrib["y"]) + 12
    assert "results <waited> for" in [each.text for each in texts]


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
