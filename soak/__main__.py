"""
The command that runs the scenarios, prints their numbers, and exits with 1 if one of them fails.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import django
from django.conf import settings

from django_gearman.exceptions import GearmanError
from django_gearman.testing.programs import INCLUDED, GearmandNotInstalled, find_gearmand

from .ground import Ground
from .report import Report
from .scenarios import (
    kills,
    leftovers,
    outages,
    poison,
    quick,
    reloads,
    shortages,
    silence,
    stops,
    untold,
)
from .watching import Stuck

SCENARIOS = {
    module.__name__.rpartition(".")[2]: module
    for module in (
        kills,
        quick,
        stops,
        reloads,
        poison,
        silence,
        outages,
        untold,
        shortages,
        leftovers,
    )
}


#: The scenarios whose jobs leave their process alone, so that several of them may share it.
WITH_THREADS = ("kills", "quick", "stops", "reloads")


def soak(name: str, quick: bool, keep: bool, included: bool, threads: int) -> bool:
    """Run one scenario; return True if it has passed."""
    scenario = SCENARIOS[name]
    print(f"{name}: {scenario.TITLE}", flush=True)
    directory = Path(tempfile.mkdtemp(prefix=f"soak-{name}-"))
    report = Report()
    started = time.monotonic()
    with Ground(directory, included=included, threads=threads) as ground:
        try:
            scenario.run(report, ground, quick)
        except (Stuck, GearmanError, RuntimeError) as error:
            report.check(False, f"{type(error).__name__}: {error}")
    took = time.monotonic() - started
    for failure in report.failures[:10]:
        print(f"  FAILED: {failure}")
    if report.failures:
        print(f"  FAIL after {took:.0f} s; logs are in {directory}\n", flush=True)
        return False
    if not keep:
        shutil.rmtree(directory)
    print(f"  PASS in {took:.0f} s{f'; logs are in {directory}' if keep else ''}\n", flush=True)
    return True


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m soak", description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=", ".join(SCENARIOS))
    parser.add_argument("--quick", action="store_true", help="run a shorter version")
    parser.add_argument("--keep", action="store_true", help="keep the logs in any case")
    parser.add_argument(
        "--server",
        choices=["gearmand", INCLUDED],
        default="gearmand",
        help=f"the job server (default: gearmand); {INCLUDED} is the included one, with its store",
    )
    parser.add_argument(
        "--threads",
        type=int,
        default=1,
        metavar="T",
        help=f"jobs at a time in each worker process, for {', '.join(WITH_THREADS)} (default: 1)",
    )
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    given = parser.parse_args()
    if unknown := set(given.scenarios) - set(SCENARIOS):
        parser.error(f"no scenario {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    names = given.scenarios or [*(SCENARIOS if given.threads == 1 else WITH_THREADS)]
    if given.threads != 1 and (others := set(names) - set(WITH_THREADS)):
        parser.error(f"--threads is not for {', '.join(others)}")
    # A stopped run ends the programs that it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    included = given.server == INCLUDED
    if not included:
        try:
            find_gearmand()
        except GearmandNotInstalled as error:
            print(error, file=sys.stderr)
            return 1
    settings.configure(INSTALLED_APPS=["django_gearman"], GEARMAN_EXTERNAL_JOBS=["work.*"])
    django.setup()
    random.seed(given.seed)
    print(f"seed {given.seed}\n")
    started = time.monotonic()
    passed = [soak(name, given.quick, given.keep, included, given.threads) for name in names]
    print(f"{sum(passed)} of {len(passed)} scenarios passed in {time.monotonic() - started:.0f} s")
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
