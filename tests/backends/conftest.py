from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from django_gearman.backends.base import BaseBackend
from django_gearman.backends.gearmand import GearmandBackend
from django_gearman.backends.memory import MemoryBackend
from django_gearman.connection import Server

_names = itertools.count()

BACKENDS = [
    pytest.param("memory"),
    pytest.param("gearman", marks=pytest.mark.gearmand),
    pytest.param("python-gearman", marks=pytest.mark.gearmand),
]


@pytest.fixture(params=BACKENDS)
def connect(request: pytest.FixtureRequest) -> Iterator[Callable[[], BaseBackend]]:
    """Return a way to make backends that reach one and the same job server, empty at first."""
    made: list[BaseBackend] = []
    if request.param == "memory":
        name = f"contract-{next(_names)}"
    else:
        servers = [Server.parse(request.getfixturevalue("gearmand").address)]

    def make() -> BaseBackend:
        if request.param == "memory":
            backend: BaseBackend = MemoryBackend(name=name)
        elif request.param == "gearman":
            backend = GearmandBackend(servers, status_interval=0.5)
        else:
            python_gearman = pytest.importorskip("django_gearman.backends.python_gearman")
            backend = python_gearman.PythonGearmanBackend(servers, status_interval=0.5)
        made.append(backend)
        return backend

    yield make
    for backend in made:
        backend.close()


@pytest.fixture
def backend(connect: Callable[[], BaseBackend]) -> BaseBackend:
    return connect()


@pytest.fixture
def function() -> str:
    """A function name that no other test uses: a server is shared by many tests."""
    import uuid

    return f"test.{uuid.uuid4().hex}"
