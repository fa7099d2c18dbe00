"""A job server of our own for a file of tests, and connections to it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from tests.support.job_server import JobServerProcess, Wire

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def server() -> Iterator[JobServerProcess]:
    with JobServerProcess() as process:
        yield process


@pytest.fixture
def connect(server: JobServerProcess) -> Iterator[Callable[[], Wire]]:
    wires: list[Wire] = []

    def make() -> Wire:
        wires.append(Wire(server.port))
        return wires[-1]

    yield make
    for wire in wires:
        wire.close()


@pytest.fixture
def function() -> bytes:
    """Return the name of a function that no other test uses."""
    return b"function-%d" % next(_numbers)
