"""Transactions and database connections that a job leaves open, in all threads."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from django.conf import settings
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

_MOST = 16  # connections of a thread, until closed ones are forgotten

Blocks = dict[BaseDatabaseWrapper, "_State"]


class _State(NamedTuple):
    depth: int
    needs_rollback: bool


class _Thread(threading.local):
    """
    The connections of a thread. Asking Django for them each time would take longer than the rest.
    """

    def __init__(self) -> None:
        # This module may be imported before any code has read the settings.
        opened = connections.all(initialized_only=True) if settings.configured else []
        self.connections = [*opened]
        self.closes_own = False


_thread = _Thread()


class _Elsewhere:
    """The connections of other threads than the main one."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.threads: weakref.WeakKeyDictionary[BaseDatabaseWrapper, threading.Thread] = (
            weakref.WeakKeyDictionary()
        )
        self.is_used = False  # asking the dictionary takes longer


_elsewhere = _Elsewhere()


def _note(sender: object, connection: BaseDatabaseWrapper, **named: Any) -> None:
    """Record a connection that was just opened."""
    if len(_thread.connections) >= _MOST:
        _thread.connections = [*connections.all(initialized_only=True)]
    if connection not in _thread.connections:
        _thread.connections.append(connection)
    if threading.current_thread() is not threading.main_thread() and not _thread.closes_own:
        with _elsewhere.lock:
            _elsewhere.threads[connection] = threading.current_thread()
            _elsewhere.is_used = True


connection_created.connect(_note, dispatch_uid=__name__)


def closes_own_connections() -> None:
    """Note that this thread closes the connections that it opens, before it ends."""
    _thread.closes_own = True


def opened_here() -> Sequence[BaseDatabaseWrapper]:
    """Return the connections that this thread has opened; some may be closed."""
    return _thread.connections


def open_blocks() -> Blocks:
    """Return the connections of this thread that are in a transaction, with the depth."""
    blocks = {}
    for connection in _thread.connections:
        if _is_open(connection):
            blocks[connection] = _State(len(connection.atomic_blocks), connection.needs_rollback)
    return blocks


def _is_open(connection: BaseDatabaseWrapper) -> bool:
    if connection.in_atomic_block:
        return True
    usual = connection.settings_dict["AUTOCOMMIT"]
    return connection.connection is not None and connection.autocommit != usual


def end_blocks(before: Blocks) -> Sequence[str]:
    """
    Roll back newer transactions, and return the names of these databases.

    If there was no transaction before, the connection is dropped. Connections of ended threads are
    closed.
    """
    if not (_thread.connections or _elsewhere.is_used):  # no database is used
        return ()
    return [*_end_blocks(before)]


def _end_blocks(before: Blocks) -> Iterator[str]:
    for connection in _thread.connections:
        if not _is_open(connection):
            continue
        state = before.get(connection)
        if state is None:
            _drop(connection)
            yield connection.alias
        elif len(connection.atomic_blocks) > state.depth:
            _roll_back(connection, state)
            yield connection.alias
    if _elsewhere.is_used:
        yield from _close_of_ended_threads()


def _roll_back(connection: BaseDatabaseWrapper, state: _State) -> None:
    """Leave the newer blocks, and keep those around them."""
    error = RuntimeError("the job has left this block open")
    while len(blocks := connection.atomic_blocks) > state.depth:
        count, block = len(blocks), blocks[-1]
        with suppress(Exception):  # the connection is broken: its next user gets the error
            block.__exit__(RuntimeError, error, None)
        if len(connection.atomic_blocks) >= count:
            connection.atomic_blocks.pop()
    connection.needs_rollback = state.needs_rollback


def _drop(connection: BaseDatabaseWrapper) -> None:
    """Forget all blocks and close the connection, which makes the database roll back."""
    connection.in_atomic_block = connection.needs_rollback = False
    connection.atomic_blocks, connection.savepoint_ids, connection.run_on_commit = [], [], []
    if connection.closed_in_transaction:
        connection.closed_in_transaction = False
        connection.connection = None
    if connection.connection is not None:
        with suppress(Exception):  # an in-memory database stays open; a broken connection may go
            connection.rollback()
            connection.set_autocommit(connection.settings_dict["AUTOCOMMIT"])
    with suppress(Exception):
        connection.close()


def _close_of_ended_threads() -> Iterator[str]:
    with _elsewhere.lock:
        ended = [
            connection
            for connection, thread in _elsewhere.threads.items()
            if not thread.is_alive() and not connection.allow_thread_sharing
        ]
        for connection in ended:
            del _elsewhere.threads[connection]
    for connection in ended:
        connection.inc_thread_sharing()  # its own thread cannot close it any more
        if _is_open(connection):
            yield connection.alias
        _drop(connection)
