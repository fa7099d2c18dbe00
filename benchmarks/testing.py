"""
The cost of testing: a job in a test over a call of its function, and the plugin over a session
without.

The goals are: a job at most 50 us over a call, the plugin at most 10 ms. A session takes much
longer, and a busy machine adds more: so the quickest of several sessions counts.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import timeit
from collections.abc import Callable
from pathlib import Path

import django

django.setup()

from benchmarks.gearman_jobs import echo  # noqa: E402
from django_gearman.testing import override_gearman  # noqa: E402

CALLS = 2000
PAIRS = 6

#: Plugins that are irrelevant here.
OTHERS = ["-p", "no:django", "-p", "no:randomly", "-p", "no:hypothesispytest"]


def microseconds(work: Callable[[], object]) -> float:
    return timeit.timeit(work, number=CALLS) / CALLS * 1e6


def session_seconds(directory: Path, *options: str) -> float:
    program = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *OTHERS, *options]
    environment = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"}
    started = time.perf_counter()
    subprocess.run(program, cwd=directory, env=environment, check=True, capture_output=True)
    return time.perf_counter() - started


class Client:
    def job_costs(self) -> dict[str, float]:
        """Return the microseconds of a call, and of a job, without a test and in one."""
        costs = {
            "call": microseconds(lambda: echo("x")),
            "eager": microseconds(lambda: echo.do("x")),
        }
        with override_gearman("eager"):
            costs["gearman_client"] = microseconds(lambda: echo.do("x"))
        return costs

    def sessions(self) -> tuple[float, float]:
        """Return the seconds of a session without the plugin, and the seconds that it adds."""
        without, with_it = [], []
        with tempfile.TemporaryDirectory() as name:
            directory = Path(name)
            (directory / "test_nothing.py").write_text("def test_nothing():\n    pass\n")
            session_seconds(directory)  # fills the caches
            for _ in range(PAIRS):
                without.append(session_seconds(directory, "-p", "no:django_gearman"))
                with_it.append(session_seconds(directory))
        return min(without), min(with_it) - min(without)
