"""The benchmark's own arithmetic, on made-up figures; and one case of it for real, without a server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.goals import Verdict, verdicts
from benchmarks.growth.curves import Curve
from benchmarks.growth.report import write_svg as write_growth_svg
from benchmarks.growth.report import write_table
from benchmarks.names import DRAIN, MANY, MEMORY_OF_FIVE, NAPS, OURS, ROUND_TRIP, SUBMIT, C, cpu
from benchmarks.page import COMMAND, PAGE, goals_table, marks, slots_table, warning, write_page
from benchmarks.picture import write_svg
from benchmarks.plan import Step
from benchmarks.processes import busiest, cpu_seconds, own_cpu_seconds
from benchmarks.report import table
from benchmarks.results import Results, ratio
from benchmarks.runs import add_run

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
    found = {verdict.key: (verdict.measured, verdict.met) for verdict in verdicts(results)}

    assert found[f"{ROUND_TRIP} <= 1.15"] == ("1.3", False)
    assert found[f"{DRAIN} >= 1.5"] == ("2", True)
    assert found[f"{ROUND_TRIP}: than the best other queue >= 1"] == ("7.68", True)
    assert found["memory of 5 workers <= 1.8"] == ("-", None)


def test_each_goal_has_a_name_of_its_own(results):
    keys = [verdict.key for verdict in verdicts(results)]

    assert len(keys) == len(set(keys))


def test_a_goal_over_other_queues_is_judged_by_the_best_of_them(results):
    for system, rate, cost in (("celery", 820, 1300), ("huey", 750, 300), (OURS, 900, 200)):
        results.add((1, 0), system, NAPS, "jobs/s", rate)
        results.add((1, 0), system, cpu(NAPS), "us", cost)

    found = {verdict.case: verdict for verdict in verdicts(results)}

    rate, cost = (found[f"{title}: than the best other queue"] for title in (NAPS, cpu(NAPS)))
    assert (rate.measured, rate.goal) == ("1.1", "at least 1 times better (celery)")
    assert (cost.measured, cost.goal, cost.met) == ("1.5", "at least 2 times better (huey)", False)


@pytest.fixture
def goals() -> list[Verdict]:
    return [
        Verdict("Client", "always", 1.5, True, "x C", 1.2),
        Verdict("Client", "sometimes", 100, False, "jobs/s", 120),
        Verdict("Worker", "never measured", 5, True, "ms", None),
    ]


def test_a_goal_that_was_missed_in_one_run_is_a_no_with_the_spread(goals, tmp_path):
    missed = Verdict("Client", "sometimes", 100, False, "jobs/s", 80.0)

    add_run(tmp_path / "runs.json", [goals[0], missed])
    runs = add_run(tmp_path / "runs.json", goals)

    rows = goals_table(goals, runs).splitlines()
    assert rows[0] == "| goal |  | this run | met in each of 2 runs |"
    assert rows[2:5] == [
        "| **Client** |  |  |  |",
        "| always | at most 1.5 x C | 1.2 | yes: 1.2 |",
        "| sometimes | at least 100 jobs/s | 120 | **no**: 80 to 120 |",
    ]
    assert rows[-1] == "| never measured | at most 5 ms | - | not measured |"


def test_the_last_five_runs_are_kept(goals, tmp_path):
    for _ in range(6):
        runs = add_run(tmp_path / "runs.json", goals)

    assert len(runs) == 5


def test_the_table_of_jobs_at_a_time_says_how_near_to_the_ideal_a_system_is(results):
    results.add((1, 0), "huey", NAPS, "jobs/s", 750)
    results.add((1, 0), "huey", f"{NAPS}, peak RSS", "MB", 49.2)

    rows = slots_table(results, NAPS, ["huey", "celery"], 50).splitlines()

    assert rows[2:] == [
        "| Huey, `-k thread -w 50` | 750/s | 0.75 |  |  | 49.2 MB |",
        "| Celery, `--pool threads -c 50` |  |  |  |  |  |",
    ]


def test_a_run_on_a_busy_machine_says_so():
    assert warning(0.01) == ""
    assert "busy machine** (load average 100.0 before the run)" in warning(100)


def test_a_run_writes_all_its_tables_into_the_page(results, tmp_path):
    page = tmp_path / "performance.md"
    page.write_text(PAGE.read_text())

    write_page(page, results, [{}])
    first = page.read_text()
    write_page(page, results, [{}])

    assert page.read_text() == first
    for name, row in {
        "run": "| round trip, p50 | 195 us | 150 us |",
        "threads": "| Huey, `-k thread -w 50` |",
        "coroutines": "| arq, `max_jobs` |",
        "tasks": "| django-ox |",
        "goals": "| round trip, 100 B, p50 | at most 1.15 x libgearman C | 1.3 |",
    }.items():
        begin, end = marks(name, COMMAND)
        assert row in first.partition(begin)[2].partition(end)[0], name


def test_slow_steps_are_measured_in_every_other_round():
    slow, quick = (Step("case", "system", lambda: iter([]), slow=slow) for slow in (True, False))

    rounds = range(1, 6)

    assert [number for number in rounds if slow.is_in(number)] == [1, 3, 5]
    assert [number for number in rounds if quick.is_in(number)] == [1, 2, 3, 4, 5]


def test_the_process_that_works_is_told_from_its_parent():
    spin = (
        "import time\nwhile time.process_time() < 0.2: pass\nprint(flush=True)\nwhile True: input()"
    )
    parent = (
        "import os, subprocess, sys\n"
        "while os.times().user < 0.4: pass\n"
        f"subprocess.run([sys.executable, '-c', {spin!r}])"
    )
    command = [sys.executable, "-c", parent]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        program.stdout.readline()

        worker = busiest(program.pid)

        assert worker != program.pid
        assert own_cpu_seconds(worker) >= 0.2
        assert cpu_seconds(program.pid) >= 0.6
        program.kill()


def test_the_table_has_figures_notes_and_goals(results):
    results.note("Redis is not there")

    message = table(results)

    assert "libgearman C                        150        100        200 us" in message
    assert "Redis is not there" in message
    assert "at most 1.15 x libgearman C" in message


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
    begin, end = marks("growth", "make bench GROWTH=1")
    page.write_text(f"Before\n{begin}\nold\n{end}\nAfter\n")

    write_table(page, curves)
    write_table(page, curves)  # once more changes nothing

    text = page.read_text()
    assert "| worker processes (round trip) | client | 1: 90, 32: 1,234 |\n" in text
    assert "|  | gearmand w1 | 1: 9.0, 32: 123 |\n" in text
    assert (text.startswith("Before\n"), text.endswith(f"{end}\nAfter\n")) == (True, True)
    assert "old" not in text
    assert text.count("worker processes") == 1


def test_a_page_without_a_place_for_the_table_is_refused(curves, tmp_path):
    page = tmp_path / "page.md"
    only = f"only {marks('growth', 'make bench GROWTH=1')[0]}"
    page.write_text(only)

    with pytest.raises(ValueError, match="no place for the table"):
        write_table(page, curves)
    assert page.read_text() == only


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
    names = [OURS, "background", "many", "slots", "worker_memory"]
    options = ["--quick", "--rounds", "1", "--without-peers", "--output", str(tmp_path)]
    options += [f"--only={name}" for name in names]
    subprocess.run(
        [sys.executable, "-m", "benchmarks", *options], cwd=ROOT, check=True, timeout=280
    )

    written = json.loads((tmp_path / "results.json").read_text())
    measured = {figure["figure"] for figure in written["figures"]}
    expected = {
        SUBMIT,
        DRAIN,
        MANY,
        cpu(DRAIN, "worker"),
        MEMORY_OF_FIVE,
        NAPS,
        f"{NAPS}, peak RSS",
    }
    assert expected <= measured
    assert {figure["system"] for figure in written["figures"]} == {OURS}
    assert [note for note in written["notes"] if "could not be measured" in note] == []
