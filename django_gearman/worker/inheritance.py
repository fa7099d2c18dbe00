"""
Resources that a worker process must not inherit from its parent, which loads the project and forks.
"""

from __future__ import annotations

import os
import socket
import stat
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from asgiref.sync import SyncToAsync
from django.core.cache import caches
from django.db import connections
from django.utils.functional import empty

from ..backends.sharing import close_copies

# Freeing the parent's objects could close them: a client sends a goodbye over the shared
# connection.
_inherited: list[object] = []
# Their threads start again in a forked process.
_FORK_AWARE = ("sentry_sdk", "opentelemetry")


def close_shared() -> None:
    """Close resources that this process must not share with its forks."""
    connections.close_all()
    for alias, _ in _pools():
        connections[alias].close_pool()  # type: ignore[attr-defined]
    caches.close_all()
    _forget_caches()
    _forget_storages()
    _new_executor().shutdown(wait=False)


def forget_shared() -> None:
    """Make this forked process open everything anew, without closing the parent's resources."""
    for connection in connections.all(initialized_only=True):
        if connection.connection is not None and not _is_in_memory(connection):
            _inherited.append(connection.connection)
            connection.connection = None
    for _, pools in _pools():
        _inherited.extend(pools.values())
        pools.clear()
    _inherited.extend(_forget_caches())
    _inherited.extend(_forget_storages())
    _inherited.append(_new_executor())
    close_copies()


def reseed() -> None:
    """Seed random generators anew in this process, if their library does not."""
    for name in ("numpy.random", "torch"):
        if (module := sys.modules.get(name)) is not None:
            module.seed()


def _is_in_memory(connection: Any) -> bool:
    """Return True if the database is already a copy in this process: SQLite in memory."""
    return connection.vendor == "sqlite" and bool(connection.is_in_memory_db())


def _pools() -> Iterator[tuple[str, dict[Any, Any]]]:
    """Yield each alias of a database with connection pools, and these pools."""
    for alias in connections:
        base = sys.modules.get(f"{connections.settings[alias]['ENGINE']}.base")
        pools = getattr(getattr(base, "DatabaseWrapper", None), "_connection_pools", None)
        if pools:
            yield alias, pools


def _forget_caches() -> list[object]:
    forgotten: list[object] = [*caches.all(initialized_only=True)]
    for alias in caches:
        with suppress(AttributeError):  # it was not used
            del caches[alias]
    return forgotten


def _forget_storages() -> list[object]:
    """Forget storages that are not Django's file storages: they are network clients."""
    module = sys.modules.get("django.core.files.storage")
    if module is None:
        return []
    made = vars(module.storages).get("_storages", {})
    forgotten = [key for key, each in made.items() if _is_foreign(each)]
    lazy = [module.default_storage]
    static = sys.modules.get("django.contrib.staticfiles.storage")
    if static is not None:
        lazy.append(static.staticfiles_storage)
    for each in lazy:
        if each._wrapped is not empty and _is_foreign(each._wrapped):
            each._wrapped = empty
    return [made.pop(key) for key in forgotten]


def _is_foreign(storage: object) -> bool:
    return not type(storage).__module__.startswith("django.")


def _new_executor() -> ThreadPoolExecutor:
    """Make asgiref use a new thread for code that is not thread-safe; return the old executors."""
    old, SyncToAsync.single_thread_executor = (
        SyncToAsync.single_thread_executor,
        ThreadPoolExecutor(max_workers=1),
    )
    return old


def warnings_of_sharing() -> Iterator[str]:
    """Return warnings about resources of this process that forks would share, or lack."""
    if names := ", ".join(sorted(_threads())):
        yield (
            "These threads of the project do not run in the worker processes, which are forked: "
            f"{names}. Start them in a receiver of the signal django_gearman.signals.worker_started, "
            "or with os.register_at_fork."
        )
    if peers := ", ".join(sorted(_peers())):
        yield (
            f"The project has opened connections that the worker processes would share: {peers}. "
            "They may get each other's answers. Open them when they are first used, or in a receiver "
            "of the signal django_gearman.signals.worker_started."
        )


def _threads() -> Iterator[str]:
    for thread in threading.enumerate():
        target = getattr(vars(thread).get("_target"), "__module__", None) or ""
        if thread is not threading.main_thread() and target.partition(".")[0] not in _FORK_AWARE:
            yield thread.name


def _peers() -> Iterator[str]:
    """
    Yield the addresses that this process is connected to, except connections that it was started
    with.
    """
    try:
        descriptors = [int(name) for name in os.listdir("/dev/fd")]
    except OSError:
        return
    for descriptor in descriptors:
        with suppress(OSError):  # it is closed, or no connection
            if os.get_inheritable(descriptor) or not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                continue
            with socket.socket(fileno=os.dup(descriptor)) as copy:
                if copy.type == socket.SOCK_STREAM and (peer := copy.getpeername()):
                    yield f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else os.fsdecode(peer)
