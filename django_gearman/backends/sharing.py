"""Connections to job servers, of which a process that a job forks must not keep its copies."""

from __future__ import annotations

import weakref
from typing import Protocol


class Shared(Protocol):
    """A connection whose `close`, in another process than its own, closes that one's copy only."""

    def close(self) -> object: ...


_opened: weakref.WeakSet[Shared] = weakref.WeakSet()


def close_in_child(connection: Shared) -> None:
    """Have what a job forks close its copy of a connection, as long as there is one."""
    _opened.add(connection)


def close_copies() -> None:
    """Close this process's copies, in one that has just been forked."""
    for connection in list(_opened):
        connection.close()
