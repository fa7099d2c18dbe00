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

from collections.abc import Callable
from typing import Any

from django.db import connections, transaction
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


class CommitWatch:
    """Sends what waits for a commit as soon as an outermost block of the code under test has ended."""

    def __init__(self) -> None:
        self._waiting: list[_Waiting] = []
        self._watched: list[BaseDatabaseWrapper] = []

    def on_commit(self, send: Callable[[], None], using: str | None) -> None:
        """Do what `transaction.on_commit` would do if there were no test around."""
        connection = transaction.get_connection(using)
        if _is_in_tests_own_block(connection):
            self.flush()
            send()
            return
        waiting = _Waiting(send, connection)
        transaction.on_commit(waiting, using=using)
        if not waiting.done:
            self._waiting.append(waiting)
            self._watch(connection)

    def _watch(self, connection: BaseDatabaseWrapper) -> None:
        if connection not in self._watched:
            self._watched.append(connection)
            # The first, because Django takes the last one away when somebody's block ends.
            connection.execute_wrappers.insert(0, self._after_sql)

    def flush(self) -> None:
        """Send what was committed meanwhile in this thread, and forget what was rolled back."""
        for waiting in list(self._waiting):
            connection = waiting.connection
            if connection is not connections[connection.alias]:
                continue  # of another thread
            if waiting.done or not connection.in_atomic_block:
                self._waiting.remove(waiting)  # by Django, as one way or the other
            elif _is_in_tests_own_block(connection):
                self._waiting.remove(waiting)
                if not waiting.is_rolled_back:
                    waiting()

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


def _is_in_tests_own_block(connection: BaseDatabaseWrapper) -> bool:
    blocks = connection.atomic_blocks
    return bool(blocks) and all(getattr(block, "_from_testcase", False) for block in blocks)
