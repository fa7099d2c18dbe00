from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
import types
from collections.abc import Callable

import pytest
from asgiref.sync import sync_to_async
from django.core.cache import caches
from django.core.files.storage import FileSystemStorage, default_storage, storages
from django.db import connections
from django.db.backends.sqlite3.base import DatabaseWrapper

from django_gearman.worker.inheritance import (
    close_shared,
    forget_shared,
    reseed,
    warnings_of_sharing,
)


def in_child(check: Callable[[], object]) -> bool:
    """Return True if this is true in a forked process."""
    pid = os.fork()
    if not pid:
        os._exit(not check())
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


class Pool:
    """The pool of connections of a database backend."""

    def __init__(self) -> None:
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True


class NetworkStorage(FileSystemStorage):
    """A storage with a connection."""


@pytest.fixture
def pool(monkeypatch):
    made = Pool()
    pools = {"default": made}

    def close_pool(self: object) -> None:
        pools.pop("default").close()

    monkeypatch.setattr(DatabaseWrapper, "_connection_pools", pools, raising=False)
    monkeypatch.setattr(DatabaseWrapper, "close_pool", close_pool, raising=False)
    made.all = pools
    return made


def test_pools_of_connections_are_closed(pool):
    close_shared()

    assert pool.is_closed
    assert pool.all == {}


def test_pools_of_connections_are_forgotten_in_a_child(pool):
    assert in_child(lambda: (forget_shared(), not pool.all and not pool.is_closed)[1])
    assert list(pool.all) == ["default"]


def test_a_connection_is_forgotten_in_a_child_and_not_closed(settings, tmp_path):
    connection = connections["default"]
    real, connection.connection = connection.connection, (opened := Pool())
    is_in_memory, connection.is_in_memory_db = connection.is_in_memory_db, lambda: False
    try:
        assert in_child(lambda: (forget_shared(), connection.connection is None)[1])
        assert in_child(lambda: (forget_shared(), not opened.is_closed)[1])
    finally:
        connection.connection, connection.is_in_memory_db = real, is_in_memory


@pytest.mark.parametrize("forget", [close_shared, forget_shared])
def test_caches_are_made_anew(forget):
    before = caches["default"]
    assert in_child(lambda: (forget(), caches["default"] is not before)[1])


@pytest.mark.parametrize("forget", [close_shared, forget_shared])
def test_storages_of_a_network_are_made_anew(settings, forget):
    name = f"{__name__}.NetworkStorage"
    settings.STORAGES = {
        "default": {"BACKEND": name},
        "other": {"BACKEND": name},
        "files": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    }
    lazy, other, files = default_storage.location, storages["other"], storages["files"]
    before = default_storage._wrapped

    def check() -> bool:
        forget()
        assert default_storage.location == lazy
        return (
            default_storage._wrapped is not before
            and storages["other"] is not other
            and storages["files"] is files
        )

    assert in_child(check)


def test_async_code_has_a_thread_in_a_child():
    asyncio.run(sync_to_async(threading.get_ident)())  # its thread waits for more

    assert in_child(
        lambda: (forget_shared(), asyncio.run(sync_to_async(lambda: "answered")()))[1] == "answered"
    )


@pytest.mark.parametrize("name", ["numpy.random", "torch"])
def test_random_numbers_are_not_those_of_the_parent(monkeypatch, name):
    seeded = []
    module = types.ModuleType(name)
    monkeypatch.setattr(module, "seed", lambda: seeded.append(name), raising=False)
    monkeypatch.setitem(sys.modules, name, module)

    reseed()

    assert seeded == [name]


# Messages


def message() -> str:
    return " ".join(warnings_of_sharing())


def test_threads_are_reported_by_name():
    is_over = threading.Event()
    thread = threading.Thread(target=is_over.wait, name="log writer")
    thread.start()
    try:
        assert "log writer" in message()
        assert "Start them in a receiver of the signal" in message()
    finally:
        is_over.set()
        thread.join()

    assert "log writer" not in message()


def test_threads_of_reporters_that_begin_again_are_not_told_of():
    is_over = threading.Event()

    def work() -> None:
        is_over.wait()

    work.__module__ = "sentry_sdk.worker"
    thread = threading.Thread(target=work, name="reporter")
    thread.start()
    found = message()
    is_over.set()
    thread.join()

    assert "reporter" not in found


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
def test_connections_are_reported_by_where_they_go(tmp_path, family):
    name = str(tmp_path / "socket")
    with socket.socket(family) as server, socket.socket(family) as client:
        server.bind(name if family == socket.AF_UNIX else ("127.0.0.1", 0))
        server.listen()
        address = server.getsockname()
        peer = name if family == socket.AF_UNIX else f"127.0.0.1:{address[1]}"
        assert peer not in message()
        client.connect(address)

        assert peer in message()
        assert "They may get each other's answers" in message()

        client.set_inheritable(True)  # as what this process was started with
        assert peer not in message()


def test_other_sockets_are_not_told_of():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as logs, socket.socket() as unused:
        before = message()
        logs.connect(("127.0.0.1", 514))
        ours, theirs = socket.socketpair()

        assert message() == before
        for each in (ours, theirs, unused):
            each.close()
