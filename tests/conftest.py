from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from django_gearman.environment import Environment, replaced
from django_gearman.testing import GearmandNotInstalled, override_gearman
from django_gearman.testing.programs import find_gearmand
from tests.support.gearmand import Gearmand

# A busy machine may take long for an example, or for making one.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup, all processes would ignore it


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """
    Run three tests for each processor: most of the time of most tests is spent waiting.

    Those of the pages of `contrib` compute: for them, two more processes would only import and
    collect all of it once more.
    """
    computes = config.getoption("ds") is not None and "not integration" in config.option.markexpr
    return (2 if computes else 3) * (os.cpu_count() or 1)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gearmand"):
        try:
            find_gearmand()
        except GearmandNotInstalled as error:
            if item.config.getoption("--gearman-required") or os.environ.get("CI"):
                pytest.fail(str(error))
            pytest.skip(str(error))


@pytest.fixture
def production() -> Iterator[None]:
    """Let nothing of the testing package stand between the library and the servers it is tried on."""
    environment = Environment()
    environment.workers_are_here = True  # so tests may declare jobs
    with replaced(environment):
        yield


@pytest.fixture(autouse=True)
def production_on_real_servers(request: pytest.FixtureRequest) -> None:
    asked_for_the_testing_package = request.node.get_closest_marker("gearman")
    if request.node.get_closest_marker("gearmand") and not asked_for_the_testing_package:
        request.getfixturevalue("production")


@pytest.fixture(scope="session")
def gearmand() -> Iterator[Gearmand]:
    """A job server for the whole session; tests keep apart by the names of their functions."""
    with Gearmand() as server:
        yield server


@pytest.fixture
def own_gearmand() -> Iterator[Gearmand]:
    """A job server for one test, which may kill it."""
    with Gearmand() as server:
        yield server


@pytest.fixture
def ran() -> list[Any]:
    """Return the list of results of the jobs of tests.app, empty at first."""
    from tests.app.gearman_jobs import RAN  # not before Django is set up

    RAN.clear()
    return RAN


@pytest.fixture
def runs() -> Iterator[list[Any]]:
    """Collect the contexts of all runs."""
    from django_gearman.signals import job_started  # not before Django is set up

    contexts: list[Any] = []

    def note(context, **kwargs):
        contexts.append(context)

    job_started.connect(note)
    yield contexts
    job_started.disconnect(note)


@pytest.fixture
def memory(settings, request):
    """Queue jobs, without running them."""
    settings.GEARMAN_BACKEND = "memory"
    settings.GEARMAN_OPTIONS = {"name": request.node.nodeid}


@pytest.fixture(params=["eager", "memory"])
def work(request, gearman_client, gearman_worker):
    """Return a function that lets a number of seconds pass, on either transport."""
    with override_gearman(request.param):

        def after(seconds: float = 0) -> None:
            if seconds:
                gearman_worker.advance(seconds=seconds)
            if request.param == "memory":
                gearman_worker.run()

        yield after
