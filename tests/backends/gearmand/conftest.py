from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from django_gearman.backends import opening
from django_gearman.backends.base import WorkerSession
from django_gearman.backends.gearmand.backend import GearmandBackend
from django_gearman.backends.remote import servers_standing
from django_gearman.protocol.address import ServerAddress
from tests.support.transport import Open


@pytest.fixture(autouse=True)
def fresh_standing() -> Iterator[None]:
    """Forget which servers were down in other tests."""
    servers_standing.forget()
    opening.addresses_standing.forget()
    yield
    servers_standing.forget()
    opening.addresses_standing.forget()


@pytest.fixture
def open_backend() -> Iterator[Open]:
    """Return a way to make a backend for addresses, which is closed at the end."""
    made: list[GearmandBackend] = []

    def make(*addresses: str, **options: float) -> GearmandBackend:
        backend = GearmandBackend(
            [ServerAddress.parse(address) for address in addresses], **options
        )
        made.append(backend)
        return backend

    yield make
    for backend in made:
        backend.close()


@pytest.fixture
def worker_of(open_backend: Open) -> Iterator[Callable[..., WorkerSession]]:
    """Return a way to become a worker of a function, which leaves at the end."""
    made: list[WorkerSession] = []

    def make(function: str, *addresses: str, client_id: str = "", **options: float):
        options = {"connect_timeout": 5.0, "reply_timeout": 2.0, **options}
        session = open_backend(*addresses, **options).register([function], client_id)
        made.append(session)
        return session

    yield make
    for session in made:
        session.close()
