"""
Transactions in tests: jobs that wait for a commit, where the test's transaction never commits.

Django's TestCase and pytest-django's `db` wrap each test in a transaction, and roll it back. A job with
`on_commit` would never be sent there, and the test would differ from production. So the outermost
block of the code under test counts as the transaction. If it ends well, its jobs are sent. If it is
rolled back, they are dropped.

In the database that block is only a savepoint, and Django tells nobody that it has ended. What can be
seen is the SQL that releases the savepoint, so `CommitWatch` looks at each query. The test's own
blocks are those that Django marks as `_from_testcase`. A block without a savepoint
(`atomic(savepoint=False)`, as in `Model.delete()`) ends without any SQL. Its jobs are sent before the
next query, or when the test asks what was submitted.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from django.db import DatabaseError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper


class _Waiting:
    """A callback that runs once, for any caller."""

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
        """True if Django has dropped it, or is about to."""
        kept = any(callback is self for _, callback, *_ in self.connection.run_on_commit)
        return not kept or self.connection.needs_rollback


class _Thread(threading.local):
    """The callbacks of a thread that wait for its transactions."""

    def __init__(self) -> None:
        self.waiting: list[_Waiting] = []


class CommitWatch:
    """
    A watcher that sends waiting jobs as soon as an outermost block of the code under test has
    ended.
    """

    def __init__(self) -> None:
        self._thread = _Thread()
        self._watched: list[BaseDatabaseWrapper] = []
        self._released: list[str] = []  # the savepoint whose release a failed job interrupted

    def on_commit(
        self,
        schedule: Callable[..., None],
        send: Callable[[], None],
        using: str | None,
        *,
        at_once: bool,
    ) -> None:
        """
        Behave like Django's `schedule` without a test around it.

        With `at_once`, a job that is in no block but the test's own is sent, as in production.
        Without, it waits for the commit that never comes, as in Django's tests.
        """
        connection = transaction.get_connection(using)
        in_no_block = not connection.in_atomic_block or _is_in_tests_own_block(connection)
        if at_once and in_no_block and _commits_by_itself(connection):
            self.flush()
            send()
            return
        waiting = _Waiting(send, connection)
        schedule(waiting, using=using)
        if not in_no_block:
            self._thread.waiting.append(waiting)
            self._watch(connection)

    def is_in_tests_own_block(self, connection: BaseDatabaseWrapper) -> bool:
        """Return True in the test's own transaction, outside of blocks of the code under test."""
        return _is_in_tests_own_block(connection)

    def _watch(self, connection: BaseDatabaseWrapper) -> None:
        if connection not in self._watched:
            self._watched.append(connection)
            # The first, because Django removes the last one when another block ends.
            connection.execute_wrappers.insert(0, self._around_sql)

    def flush(self) -> None:
        """
        Send jobs that were committed in this thread, and forget those that were rolled back.

        All are sent in order, even if some fail; then the first failure is raised.
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
            if self._around_sql in connection.execute_wrappers:
                connection.execute_wrappers.remove(self._around_sql)

    def _around_sql(
        self,
        execute: Callable[..., Any],
        sql: str,
        params: Any,
        many: bool,
        context: dict[str, Any],
    ) -> Any:
        words = sql.split(None, 4)[:4] if isinstance(sql, str) else []
        if words[:1] == ["ROLLBACK"]:  # Django drops the block's callbacks afterwards
            return None if words[-1:] == self._released else execute(sql, params, many, context)
        if words[:2] != ["RELEASE", "SAVEPOINT"]:
            self.flush()  # jobs of a block without a savepoint, whose end sends no SQL
            return execute(sql, params, many, context)
        if words[-1:] == self._released:
            self._released = []
            return None
        result = execute(sql, params, many, context)
        try:
            self.flush()
        except DatabaseError:
            # A job's error, which Django treats as a failure of the release. It is about to roll back
            # to the savepoint that has just been released, which must still exist.
            self._released = words[-1:]
            raise
        return result


def _commits_by_itself(connection: BaseDatabaseWrapper) -> bool:
    """
    Return True for autocommit, without opening the database, which a test without one must not do.
    """
    if connection.in_atomic_block or connection.connection is not None:
        return connection.in_atomic_block or bool(connection.autocommit)
    return bool(connection.settings_dict["AUTOCOMMIT"])


def _is_in_tests_own_block(connection: BaseDatabaseWrapper) -> bool:
    blocks = connection.atomic_blocks
    return bool(blocks) and all(getattr(block, "_from_testcase", False) for block in blocks)
