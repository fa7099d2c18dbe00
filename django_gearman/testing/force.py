"""What a test puts in force: until a block ends, or the test."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self


class InForce:
    """
    Something that is in force from when it is made.

    As a context manager it ends with the block, otherwise with the test, or by `stop()`; it may be
    used as one again.
    """

    def __init__(self, all_in_force: list[Any]) -> None:
        self._all = all_in_force
        self._all.append(self)

    def stop(self) -> None:
        """End it."""
        if self in self._all:
            self._all.remove(self)

    def __enter__(self) -> Self:
        if self not in self._all:
            self._all.append(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
