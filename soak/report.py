"""The findings of a scenario: numbers, printed as they come, and the goals that they miss."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


class Report:
    """The numbers of one scenario, and the reasons why it has failed, if it has."""

    def __init__(self) -> None:
        self.failures: list[str] = []

    def number(self, what: str, value: object) -> None:
        shown = f"{value:,.2f}" if isinstance(value, float) else value
        shown = f"{shown:,}" if isinstance(shown, int) else shown
        print(f"  {what:58}{shown!s:>12}", flush=True)

    def note(self, text: str) -> None:
        print(f"  {text}", flush=True)

    def seconds(self, what: str, values: Sequence[float]) -> None:
        """Print the middle and the longest of some durations."""
        if values:
            self.number(f"{what}: p50, seconds", round(statistics.median(values), 3))
            self.number(f"{what}: longest, seconds", round(max(values), 3))

    def check(self, holds: bool, promise: str, found: object = "") -> None:
        """Note a failure unless the promise holds."""
        if not holds:
            self.failures.append(f"{promise}: {found}" if found != "" else promise)
