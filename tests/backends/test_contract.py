"""The contract, on each of our transports."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import pytest

from django_gearman.backends.base import BaseBackend
from django_gearman.backends.eager import EagerBackend
from django_gearman.backends.gearmand.backend import GearmandBackend
from django_gearman.backends.gearmand.worker import GearmandWorkerSession
from django_gearman.backends.memory import MemoryBackend
from django_gearman.protocol.address import ServerAddress
from django_gearman.testing.contract import TransportContract
from tests.support.gearmand import Gearmand
from tests.support.job_server import JobServerProcess

_names = itertools.count()


class TestMemory(TransportContract):
    @pytest.fixture(autouse=True)
    def own_name(self) -> None:
        self.name = f"contract-{next(_names)}"

    def make_backend(self) -> BaseBackend:
        return MemoryBackend(name=self.name)


class TestEager(TransportContract):
    @pytest.fixture(autouse=True)
    def own_server(self) -> None:
        self.server = EagerBackend().server

    def make_backend(self) -> BaseBackend:
        backend = EagerBackend()
        backend.server = self.server
        return backend


class OnGearmand(TransportContract):
    @pytest.fixture(autouse=True)
    def shared_server(self, gearmand: Gearmand) -> None:
        self.servers = [ServerAddress.parse(gearmand.address)]


@pytest.fixture(scope="module")
def job_server() -> Iterator[JobServerProcess]:
    with JobServerProcess() as server:
        yield server


class TestJobServer(TransportContract):
    """The included job server, in a separate process."""

    @pytest.fixture(autouse=True)
    def shared_server(self, job_server: JobServerProcess) -> None:
        self.servers = [ServerAddress.parse(job_server.address)]

    def make_backend(self) -> BaseBackend:
        return GearmandBackend(self.servers, status_interval=0.5)


@pytest.mark.gearmand
class TestGearmand(OnGearmand):
    def make_backend(self) -> BaseBackend:
        return GearmandBackend(self.servers, status_interval=0.5)


class BackendWithSlots(GearmandBackend):
    """A backend whose workers have four slots, whether asked for or not."""

    def register(
        self, functions: Sequence[str], client_id: str = "", slots: int = 4
    ) -> GearmandWorkerSession:
        return super().register(functions, client_id, slots)


@pytest.mark.gearmand
class TestGearmandWithSlots(OnGearmand):
    def make_backend(self) -> BaseBackend:
        return BackendWithSlots(self.servers, status_interval=0.5)


@pytest.mark.gearmand
class TestPythonGearman(OnGearmand):
    def make_backend(self) -> BaseBackend:
        python_gearman = pytest.importorskip("django_gearman.backends.python_gearman.backend")
        return python_gearman.PythonGearmanBackend(self.servers, status_interval=0.5)
