"""Measured figures, each by round, so that figures of one round can be compared."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TypeAlias

#: The number of a round, and of the turn in it, of those cases that have several.
Turn: TypeAlias = tuple[int, int]


@dataclass
class Figure:
    """One figure of one system, by round."""

    title: str
    system: str
    unit: str
    rounds: dict[Turn, float] = field(default_factory=dict)

    @property
    def median(self) -> float:
        return statistics.median(self.rounds.values())

    @property
    def spread(self) -> tuple[float, float]:
        return min(self.rounds.values()), max(self.rounds.values())


@dataclass
class Results:
    """All figures, notes on those that could not be measured, and the load before the run."""

    figures: dict[tuple[str, str], Figure] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    load: float = 0.0

    @property
    def rounds(self) -> int:
        return max(
            (number for each in self.figures.values() for number, _ in each.rounds), default=0
        )

    def add(self, turn: Turn, system: str, title: str, unit: str, value: float) -> None:
        figure = self.figures.setdefault((title, system), Figure(title, system, unit))
        figure.rounds[turn] = value

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def get(self, title: str, system: str) -> Figure | None:
        return self.figures.get((title, system))

    def titles(self) -> list[str]:
        return list(dict.fromkeys(title for title, _ in self.figures))

    def of(self, title: str) -> list[Figure]:
        """Return the figures of this title, of all systems."""
        return [figure for figure in self.figures.values() if figure.title == title]


def ratio(one: Figure | None, other: Figure | None) -> float | None:
    """
    Return the ratio of `other` to `one`: the median of the rounds that have both.

    A slow period of the machine affects both, so the ratio of a round is steadier than that of the
    medians.
    """
    if one is None or other is None:
        return None
    both = one.rounds.keys() & other.rounds.keys()
    if not both:
        return None
    return statistics.median(one.rounds[each] / other.rounds[each] for each in both)
