"""Locks of the database, which end with their connection."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import DatabaseError, connections, transaction

_TURN_SECONDS = 30


@contextmanager
def exclusive(alias: str) -> Iterator[None]:
    """
    Run a transaction whose SELECTs lock their rows.

    SQLite has no such locks. There the transaction takes the lock of all writers when it begins.
    """
    connection: Any = connections[alias]
    if connection.vendor != "sqlite":
        with transaction.atomic(alias):
            yield
        return
    before = connection.transaction_mode
    connection.transaction_mode = "IMMEDIATE"
    try:
        with transaction.atomic(alias):
            yield
    finally:
        connection.transaction_mode = before


@contextmanager
def taking_turns(alias: str) -> Iterator[None]:
    """
    Make relays of a MySQL database take turns: run a block while no other one is in it.

    MySQL locks more rows than it selects, and relays side by side would end in deadlocks. Raises
    DatabaseError if another relay does not leave.
    """
    connection: Any = connections[alias]
    if connection.vendor != "mysql":
        yield
        return
    name = f"gearman_outbox.{connection.settings_dict['NAME']}"[:64]
    with connection.cursor() as cursor:
        cursor.execute("SELECT GET_LOCK(%s, %s)", [name, _TURN_SECONDS])
        if not cursor.fetchone()[0]:
            raise DatabaseError(f"another relay has held the lock {name!r} for {_TURN_SECONDS} s")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT RELEASE_LOCK(%s)", [name])
