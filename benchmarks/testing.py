"""
What testing costs: a job in a test over a call of its function, and the plugin over a session without.

    make bench

All figures are medians of rounds that take turns, in one run on one machine. Absolute figures differ
from machine to machine; the aims are: a job at most 50 us over a call, the plugin at most 10 ms.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
import timeit
from collections.abc import Callable
from pathlib import Path

import django
from django.conf import settings

from django_gearman import gearman_job
from django_gearman.testing import override_gearman

ROUNDS = 9
CALLS = 2000


@gearman_job
def echo(value: int) -> int:
    return value


def microseconds(work: Callable[[], object]) -> float:
    return timeit.timeit(work, number=CALLS) / CALLS * 1e6


def job_costs() -> dict[str, float]:
    rounds: dict[str, list[float]] = {"call": [], "eager": [], "gearman_client": []}
    for _ in range(ROUNDS):
        rounds["call"].append(microseconds(lambda: echo(1)))
        rounds["eager"].append(microseconds(lambda: echo.do(1)))
        with override_gearman("eager"):
            rounds["gearman_client"].append(microseconds(lambda: echo.do(1)))
    return {name: statistics.median(values) for name, values in rounds.items()}


def session_seconds(directory: Path, *options: str) -> float:
    started = time.perf_counter()
    program = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    others = ["-p", "no:django", "-p", "no:randomly", "-p", "no:hypothesispytest"]
    environment = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"}
    subprocess.run(
        [*program, *others], cwd=directory, env=environment, check=True, capture_output=True
    )
    return time.perf_counter() - started


def plugin_milliseconds() -> tuple[float, float]:
    """Return how long a session without the plugin takes, and how much longer one with it."""
    without, more = [], []
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "test_nothing.py").write_text("def test_nothing():\n    pass\n")
        session_seconds(directory)  # fills the caches
        for _ in range(ROUNDS * 2):
            without.append(session_seconds(directory, "-p", "no:django_gearman"))
            more.append(session_seconds(directory) - without[-1])
    return statistics.median(without) * 1000, statistics.median(more) * 1000


def main() -> None:
    settings.configure(INSTALLED_APPS=["django_gearman"], GEARMAN_BACKEND="eager")
    django.setup()
    costs = job_costs()
    print(f"{'one job, a small argument':40}{'us':>10}{'over a call':>14}")
    for name, cost in costs.items():
        print(f"  {name:38}{cost:10.1f}{cost - costs['call']:14.1f}")
    without, more = plugin_milliseconds()
    print(f"{'a pytest session of one empty test':40}{'ms':>10}")
    print(f"  {'without the plugin':38}{without:10.0f}")
    print(f"  {'the plugin adds':38}{more:10.1f}")


if __name__ == "__main__":
    main()
