from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.gearmand import GEARMAND, Gearmand


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--gearmand-required",
        action="store_true",
        help="fail, instead of skipping, the tests that need a gearmand which is not installed",
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gearmand") and not GEARMAND:
        reason = "gearmand is not installed: apt-get install gearman-job-server gearman-tools"
        if item.config.getoption("--gearmand-required") or os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="session")
def gearmand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gearmand]:
    """A job server for the whole session; tests keep apart by the names of their functions."""
    server = Gearmand(tmp_path_factory.mktemp("gearmand"))
    yield server
    server.kill()


@pytest.fixture
def own_gearmand(tmp_path: Path) -> Iterator[Gearmand]:
    """A job server for one test, which may kill it."""
    server = Gearmand(tmp_path)
    yield server
    server.kill()


@pytest.fixture
def ran() -> list[Any]:
    """Return what the jobs of tests.app leave behind, empty at first."""
    from tests.app.gearman_jobs import RAN  # not before Django is set up

    RAN.clear()
    return RAN


@pytest.fixture
def memory(settings, request):
    """Queue jobs, without running them."""
    settings.GEARMAN_BACKEND = "memory"
    settings.GEARMAN_OPTIONS = {"name": request.node.nodeid}
