"""
Benchmarks of this library beside plain sockets and other job queues.

    make bench                              # all of it; about ten minutes
    .venv/bin/python -m benchmarks --quick  # a first look: fewer rounds, fewer jobs

Every figure is the median of rounds. In a round, each case is measured on one system after the
other, so that all have the same conditions; every other round goes backwards. Absolute figures
differ between machines: compare figures of one run.

A full run writes benchmarks/results.json and results.svg, adds its goals to benchmarks/runs.json, and
writes the tables of docs/explanation/performance.md. Delete runs.json when you start to measure
another version of the code.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path
from subprocess import SubprocessError

from .goals import verdicts
from .page import PAGE, write_page
from .picture import write_svg
from .plan import Plan, Step
from .report import table, write_json
from .results import Results
from .runs import add_run

ROUNDS, QUICK_ROUNDS, QUICK_SCALE = 5, 2, 0.1
LEAST_ROUNDS, MINUTES = 3, 12  # no further round begins that would end later
HERE = Path(__file__).parent


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--quick", action="store_true", help="fewer rounds and jobs")
    parser.add_argument("--rounds", type=int, help=f"how many (default: {ROUNDS})")
    parser.add_argument(
        "--only",
        action="append",
        metavar="NAME",
        help="a case or a system; may be repeated; with both, only these cases of these systems",
    )
    parser.add_argument("--without-peers", action="store_true", help="only Gearman")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIRECTORY",
        help="where results.json and results.svg go (default: benchmarks, for a full run only)",
    )
    return parser.parse_args()


def chosen(steps: list[Step], only: list[str] | None) -> list[Step]:
    if not only:
        return steps
    cases, systems = {step.case for step in steps}, {step.system for step in steps}
    if unknown := set(only) - cases - systems:
        sys.exit(f"unknown: {', '.join(unknown)}; known: {', '.join(sorted(cases | systems))}")
    cases, systems = cases & set(only) or cases, systems & set(only) or systems
    return [step for step in steps if step.case in cases and step.system in systems]


def show(text: str, end: str = "\n") -> None:
    """Show the progress, if stderr is a terminal."""
    if sys.stderr.isatty():
        print(text, end=f"\033[K{end}", file=sys.stderr)


def measure(results: Results, steps: list[Step], rounds: int) -> None:
    failed: set[Step] = set()
    began = time.monotonic()
    for number in range(1, rounds + 1):
        started = time.monotonic()
        if number > LEAST_ROUNDS and (started - began) * number / (number - 1) > MINUTES * 60:
            results.note(f"The machine is slow: {number - 1} rounds in place of {rounds}")
            break
        for step in steps if number % 2 else steps[::-1]:
            if step in failed or not step.is_in(number):
                continue
            show(f"round {number}: {step.case}, {step.system}", end="\r")
            try:
                for title, unit, value in step.measure():
                    results.add((number, step.turn), step.system, title, unit, value)
            except (OSError, RuntimeError, SubprocessError) as error:
                failed.add(step)
                results.note(f"{step.case}, {step.system}: could not be measured: {error}")
        show(f"round {number} took {time.monotonic() - started:.0f} s")


def main() -> None:
    for number in (
        signal.SIGTERM,
        signal.SIGINT,
    ):  # programs that still run are ended on the way out
        signal.signal(number, lambda *_: sys.exit("stopped"))
    # Installed packages have compiled files; compile those of this repository too.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    chosen_options = options()
    quick = chosen_options.quick
    plan = Plan(QUICK_SCALE if quick else 1.0)
    plan.add_all(with_peers=not chosen_options.without_peers)
    results = Results(notes=plan.notes, load=os.getloadavg()[0])
    rounds = chosen_options.rounds or (QUICK_ROUNDS if quick else ROUNDS)
    measure(results, chosen(plan.steps, chosen_options.only), rounds)
    print(table(results))
    partial = quick or chosen_options.only or chosen_options.without_peers
    directory = chosen_options.output or (None if partial else HERE)
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
        write_json(directory / "results.json", results)
        write_svg(directory / "results.svg", results)
    if directory == HERE and not partial:
        write_page(PAGE, results, add_run(HERE / "runs.json", verdicts(results)))


if __name__ == "__main__":
    main()
