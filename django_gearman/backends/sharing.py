"""Connections to job servers whose copies a forked process must close."""

from __future__ import annotations

import weakref
from typing import Protocol


class Shared(Protocol):
    """A connection whose `close` only closes the copy of a forked process."""

    def close(self) -> object: ...


_opened: weakref.WeakSet[Shared] = weakref.WeakSet()


def close_in_child(connection: Shared) -> None:
    """Make forked processes close their copy of a connection, while it exists."""
    _opened.add(connection)


def close_copies() -> None:
    """Close the copies of this process, which was just forked."""
    for connection in list(_opened):
        connection.close()
