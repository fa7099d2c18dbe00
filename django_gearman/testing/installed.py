"""Faults and stubs that are installed until a block ends, or the test."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self


class Installed:
    """
    A fault or stub that is installed when it is created.

    As a context manager it ends with the block, otherwise with the test, or by `stop()`. It can be
    used as a context manager again.
    """

    def __init__(self, all_in_force: list[Any]) -> None:
        self._all = all_in_force
        self._all.append(self)

    def stop(self) -> None:
        """Remove it."""
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
