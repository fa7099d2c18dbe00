"""Cases without a server: a job in tests, tracing, metrics, the pytest plugin, and imports."""

from __future__ import annotations

import statistics
import subprocess
from pathlib import Path

from .cases import INSTRUCTIONS, MICROSECONDS, MILLISECONDS, Measured
from .clients import Agent
from .names import (
    BARE,
    COUNTED,
    JOB_INSTRUCTIONS,
    SCRAPE,
    STORED_INSTRUCTIONS,
    TRACED,
    UNCOUNTED,
)
from .processes import ROOT
from .systems import PYTHON

_IMPORTS = 5  # of each, in one round
_CLOCK = "import time{0}; t = time.perf_counter(); {1}; print(time.perf_counter() - t)"
_VARIABLES = {"DJANGO_SETTINGS_MODULE": "benchmarks.settings", "GEARMAN_BACKEND": "eager"}


def job_costs() -> Measured:
    """Measure the costs of `benchmarks.testing`."""
    with Agent(PYTHON, "benchmarks.testing:Client", _VARIABLES) as client:
        costs = client.call("job_costs")
        yield "plain call of a job", MICROSECONDS, costs["call"]
        yield "eager job, over a plain call", MICROSECONDS, costs["eager"] - costs["call"]
        more = costs["gearman_client"] - costs["call"]
        yield "job in a test, over a plain call", MICROSECONDS, more


def tracing() -> Measured:
    """Measure what tracing adds to a job's CPU time, alone and beside the SDK's own part."""
    with Agent(PYTHON, "benchmarks.tracing:Client", _VARIABLES) as client:
        costs = client.call("costs")
    yield TRACED, MICROSECONDS, costs["sampled"] - costs["bare"]
    for kind, title in {
        "bare": BARE,
        "no SDK": "traced job without an SDK, CPU",
        "not sampled": "traced job that is not sampled, CPU",
        "sampled": "traced job that is recorded, CPU",
    }.items():
        yield title, MICROSECONDS, costs[kind] - costs["off"]


def metrics() -> Measured:
    """Measure what counting adds to a job's CPU time, and a page after many processes."""
    with Agent(PYTHON, "benchmarks.metrics:Client", _VARIABLES) as client:
        costs = client.call("costs")
        milliseconds = client.call("scrape")
    yield COUNTED, MICROSECONDS, costs["on"] - costs["off"]
    yield UNCOUNTED, MICROSECONDS, costs["look"]
    yield SCRAPE, MILLISECONDS, milliseconds


def instructions() -> Measured:
    """Count the bytecode instructions of a job without a record, with and without the store."""
    variables = {**_VARIABLES, "GEARMAN_BACKEND": "memory"}
    with Agent(PYTHON, "benchmarks.hops:Client", variables | {"STORE": ":memory:"}) as client:
        yield STORED_INSTRUCTIONS, INSTRUCTIONS, client.call("instructions")
    with Agent(PYTHON, "benchmarks.hops:Client", variables) as client:
        yield JOB_INSTRUCTIONS, INSTRUCTIONS, client.call("instructions")


def session_costs() -> Measured:
    """Measure the sessions of `benchmarks.testing`."""
    with Agent(PYTHON, "benchmarks.testing:Client", _VARIABLES) as client:
        without, more = client.call("sessions")
    yield "pytest session of one empty test", MILLISECONDS, without * 1000
    yield "pytest plugin, over a session without", MILLISECONDS, more * 1000


def imports() -> Measured:
    """Measure imports in a new process: the package, its usual names, and the plugin."""
    names = "from django_gearman import GearmanClient, gearman_job"
    plugin = "import django_gearman.testing.plugin"
    yield "import django_gearman", MILLISECONDS, _import_time("import django_gearman")
    yield "import its client and decorator", MILLISECONDS, _import_time(names)
    yield "import the pytest plugin, after pytest", MILLISECONDS, _import_time(plugin, ", pytest")


def _import_time(statement: str, before: str = "") -> float:
    program: list[str | Path] = [PYTHON, "-c", _CLOCK.format(before, statement)]
    times = [
        float(subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
        for _ in range(_IMPORTS)
    ]
    return statistics.median(times) * 1000
