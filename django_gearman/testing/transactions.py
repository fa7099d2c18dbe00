"""
Jobs that wait for a commit, in tests whose own transaction never commits.

Django's TestCase, and pytest-django's `db`, wrap each test in an atomic block, so that the blocks of
the code under test are only savepoints. Here, a block that is the outermost one but for those of the
test counts as the transaction: when it ends well, what waited for it goes out.

Django marks the test's blocks as `_from_testcase`, and tells of the end of the others only by the
SQL that releases their savepoint. Where a database has none, the jobs go out when the test asks what
was submitted.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper


class _Waiting:
    """A callback that runs once, whoever calls it."""

    def __init__(self, send: Callable[[], None], connection: BaseDatabaseWrapper) -> None:
        self.connection = connection
        self.done = False
        self._send = send

    def __call__(self) -> None:
        if not self.done:
            self.done = True
            self._send()

    @property
    def is_rolled_back(self) -> bool:
        """Whether Django has dropped it, or is about to."""
        kept = any(callback is self for _, callback, *_ in self.connection.run_on_commit)
        return not kept or self.connection.needs_rollback


class _Thread(threading.local):
    """Transactions are those of a thread, and so is what waits for them."""

    def __init__(self) -> None:
        self.waiting: list[_Waiting] = []


class CommitWatch:
    """Sends what waits for a commit as soon as an outermost block of the code under test has ended."""

    def __init__(self) -> None:
        self._thread = _Thread()
        self._watched: list[BaseDatabaseWrapper] = []

    def on_commit(self, send: Callable[[], None], using: str | None) -> None:
        """Do what `transaction.on_commit` would do if there were no test around."""
        connection = transaction.get_connection(using)
        if _is_in_no_transaction(connection) or _is_in_tests_own_block(connection):
            self.flush()
            send()
            return
        waiting = _Waiting(send, connection)
        transaction.on_commit(waiting, using=using)
        self._thread.waiting.append(waiting)
        if connection not in self._watched:
            self._watched.append(connection)
            # The first, because Django takes the last one away when somebody's block ends.
            connection.execute_wrappers.insert(0, self._after_sql)

    def flush(self) -> None:
        """
        Send what was committed meanwhile in this thread, and forget what was rolled back.

        All of it, in its order, although some may fail; then the first failure is raised.
        """
        committed, still_waiting = [], []
        for waiting in self._thread.waiting:
            if _is_in_tests_own_block(waiting.connection):
                committed.append(waiting)
            elif waiting.connection.in_atomic_block:
                still_waiting.append(waiting)
        self._thread.waiting = still_waiting
        errors: list[Exception] = []
        for waiting in committed:
            if not waiting.is_rolled_back:
                try:
                    waiting()
                except Exception as error:  # noqa: BLE001 - raised below
                    errors.append(error)
        if errors:
            raise errors[0]

    def close(self) -> None:
        for connection in self._watched:
            if self._after_sql in connection.execute_wrappers:
                connection.execute_wrappers.remove(self._after_sql)

    def _after_sql(
        self,
        execute: Callable[..., Any],
        sql: str,
        params: Any,
        many: bool,
        context: dict[str, Any],
    ) -> Any:
        result = execute(sql, params, many, context)
        # After a rollback the savepoint is released, too; by then its callbacks are gone.
        if isinstance(sql, str) and sql.startswith("RELEASE SAVEPOINT"):
            self.flush()
        return result


def _is_in_no_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Tell without opening the database, which a test that uses none must not do."""
    opened = connection.connection is not None
    autocommit = connection.autocommit if opened else connection.settings_dict["AUTOCOMMIT"]
    return not connection.in_atomic_block and bool(autocommit)


def _is_in_tests_own_block(connection: BaseDatabaseWrapper) -> bool:
    blocks = connection.atomic_blocks
    return bool(blocks) and all(getattr(block, "_from_testcase", False) for block in blocks)
