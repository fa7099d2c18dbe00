"""The findings of a scenario: numbers, printed at once, and the missed goals."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


class Report:
    """The numbers of one scenario, and the reasons if it has failed."""

    def __init__(self) -> None:
        self.failures: list[str] = []

    def number(self, what: str, value: object) -> None:
        shown = f"{value:,.2f}" if isinstance(value, float) else value
        shown = f"{shown:,}" if isinstance(shown, int) else shown
        print(f"  {what:58}{shown!s:>12}", flush=True)

    def note(self, text: str) -> None:
        print(f"  {text}", flush=True)

    def seconds(self, what: str, values: Sequence[float]) -> None:
        """Print the median and the longest of some durations."""
        if values:
            self.number(f"{what}: p50, seconds", round(statistics.median(values), 3))
            self.number(f"{what}: longest, seconds", round(max(values), 3))

    def check(self, holds: bool, promise: str, found: object = "") -> None:
        """Record a failure unless the condition holds."""
        if not holds:
            self.failures.append(f"{promise}: {found}" if found != "" else promise)
