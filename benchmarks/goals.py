"""Goals of the library, most of them ratios within one run, and a check of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .names import (
    ALONE,
    ASYNC_NOOP,
    ASYNCHRONOUS,
    AWAITED,
    BARE,
    BESIDE_DELAYED,
    BULK,
    COUNTED,
    DOZES,
    DRAIN,
    DRAIN_BY_TWO,
    EAGER,
    GEARMAND_STORED,
    IN_TEST,
    INCLUDED,
    INCLUDED_RAW,
    INCLUDED_STORED,
    JOB_INSTRUCTIONS,
    LARGE,
    LATENCY,
    MANY,
    MAPPED,
    MEMORY_OF_FIVE,
    MEMORY_OF_ONE,
    NAPS,
    OURS,
    OUTBOX,
    OX,
    PEERS,
    PLUGIN,
    QUEUED,
    RAW,
    RELAY,
    ROUND_TRIP,
    SCRAPE,
    SINGLY,
    STORED_INSTRUCTIONS,
    STORED_TASKS,
    SUBMIT,
    TASKS,
    THREADED,
    TRACED,
    TRANSACTION,
    TRANSACTION_WITH_JOB,
    UNCOUNTED,
    WAKE_UPS,
    C,
    cpu,
)
from .results import Figure, Results, ratio


@dataclass(frozen=True)
class Verdict:
    """One goal and its measured value; None if it could not be measured."""

    group: str
    case: str
    limit: float
    most: bool  # the limit is an upper one
    unit: str
    value: float | None

    @property
    def met(self) -> bool | None:
        if self.value is None:
            return None
        return self.value <= self.limit if self.most else self.value >= self.limit

    @property
    def key(self) -> str:
        """The name of the goal, the same in all runs."""
        return f"{self.case} {'<=' if self.most else '>='} {self.limit:g}"

    @property
    def goal(self) -> str:
        return f"{'at most' if self.most else 'at least'} {self.limit:,g} {self.unit}".rstrip()

    @property
    def measured(self) -> str:
        return "-" if self.value is None else short(self.value)

    def __str__(self) -> str:
        verdict = {True: "met", False: "missed", None: "not measured"}[self.met]
        return f"{self.case:48} {self.goal:40} measured {self.measured:>7}: {verdict}"


def short(value: float) -> str:
    """Format a value with three digits or so."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


class Judge:
    """Judges the goals of one group."""

    def __init__(self, results: Results, group: str) -> None:
        self._results = results
        self._group = group
        self.verdicts: list[Verdict] = []

    def _add(self, case: str, limit: float, most: bool, unit: str, value: float | None) -> None:
        self.verdicts.append(Verdict(self._group, case, limit, most, unit, value))

    def limit(
        self, title: str, system: str, limit: float, *, most: bool = True, case: str = ""
    ) -> None:
        """Compare a figure with a number."""
        figure = self._results.get(title, system)
        unit, value = (figure.unit, figure.median) if figure else ("", None)
        self._add(case or title, limit, most, unit, value)

    def times(
        self,
        title: str,
        limit: float,
        other: str,
        *,
        most: bool = False,
        of: str = "",
        ours: str = OURS,
        case: str = "",
        name: str = "",
    ) -> None:
        """
        Compare a figure with that of another system.

        `of` is its title there if it has another one, and `name` that of the system for readers.
        """
        one, two = self._results.get(title, ours), self._results.get(of or title, other)
        self._add(case or title, limit, most, f"x {name or other}", ratio(one, two))

    def within(
        self, one: str, limit: float, other: str, *, most: bool = False, ours: str = OURS
    ) -> None:
        """Compare two figures of one system."""
        value = ratio(self._results.get(one, ours), self._results.get(other, ours))
        self._add(one, limit, most, f"x {other}", value)

    def better(self, title: str, limit: float, peers: Iterable[str], name: str) -> None:
        """Compare a figure with the best of other systems: how many times better we are."""
        ours = self._results.get(title, OURS)
        ahead = {
            peer: times
            for peer in peers
            if (times := _times_better(ours, self._results.get(title, peer))) is not None
        }
        best = min(ahead, key=lambda peer: ahead[peer], default="")
        unit = "times better" + (f" ({best})" if best and best != name else "")
        self._add(f"{title}: than {name}", limit, False, unit, ahead.get(best))


def _times_better(ours: Figure | None, theirs: Figure | None) -> float | None:
    if ours is not None and ours.unit.endswith("/s"):
        return ratio(ours, theirs)
    return ratio(theirs, ours)


def verdicts(results: Results) -> list[Verdict]:
    """Judge all goals."""
    groups = {
        "Client and worker": _wire,
        "Several jobs at a time": _at_a_time,
        "Other job queues": _queues,
        "Tasks, store and outbox": _optional,
        "Included server": _included,
        "Tests, tracing and metrics": _aside,
    }
    found: list[Verdict] = []
    for name, judge_all in groups.items():
        judge = Judge(results, name)
        judge_all(judge)
        found += judge.verdicts
    return found


def _wire(judge: Judge) -> None:
    judge.times(ROUND_TRIP, 1.15, C, most=True)
    judge.times(LARGE, 1, C, most=True)
    judge.times(SUBMIT, 0.7, C)
    judge.times(BULK, 0.33, RAW)
    judge.times(MANY, 0.5, RAW, of=BULK)
    judge.limit(cpu(MANY, "client"), OURS, 3)
    judge.times(DRAIN, 1.5, C)
    judge.limit(DRAIN, OURS, 60_000, most=False)
    judge.limit(cpu(DRAIN, "server"), OURS, 6.2)  # 0.3 of what it was once
    judge.limit(DRAIN_BY_TWO, OURS, 100_000, most=False)
    judge.within(MAPPED, 5, SINGLY)
    judge.limit(MAPPED, OURS, 25_000, most=False)
    judge.within(BESIDE_DELAYED, 2, ALONE, most=True)
    judge.limit(WAKE_UPS, OURS, 1)
    judge.within(MEMORY_OF_FIVE, 1.8, MEMORY_OF_ONE, most=True)


def _at_a_time(judge: Judge) -> None:
    judge.limit(AWAITED, OURS, 7000, most=False)
    judge.limit(cpu(AWAITED), OURS, 50)
    judge.limit(ASYNC_NOOP, OURS, 20_000, most=False)
    judge.limit(NAPS, OURS, 900, most=False)  # 0.9 of what is possible
    judge.better(NAPS, 1, THREADED, "the best other queue")
    judge.better(cpu(NAPS), 2, THREADED, "the best other queue")
    judge.limit(DOZES, OURS, 10_000, most=False)
    judge.better(DOZES, 5, ASYNCHRONOUS, "the best other queue")
    judge.limit(f"{DOZES}, memory of the process", OURS, 40)


def _queues(judge: Judge) -> None:
    for title, times in {SUBMIT: 5, DRAIN: 15, ROUND_TRIP: 10}.items():
        judge.better(title, times, ["celery"], "celery")
    for title, times in {SUBMIT: 1, DRAIN: 8, ROUND_TRIP: 1}.items():
        judge.better(title, times, PEERS, "the best other queue")


def _optional(judge: Judge) -> None:
    judge.times(SUBMIT, 0.8, OURS, ours=TASKS, case=f"{SUBMIT}: tasks", name="`do_background`")
    judge.limit(DRAIN, TASKS, 15_000, most=False, case=f"{DRAIN}: tasks")
    judge.times(SUBMIT, 0.8, OX, ours=STORED_TASKS, case=f"{SUBMIT}: tasks, stored")
    judge.times(DRAIN, 0.8, OX, ours=STORED_TASKS, case=f"{DRAIN}: tasks, stored")
    judge.within(STORED_INSTRUCTIONS, 1.01, JOB_INSTRUCTIONS, most=True)
    judge.within(TRANSACTION_WITH_JOB, 1.3, TRANSACTION, most=True, ours=OUTBOX)
    judge.limit(RELAY, OUTBOX, 8000, most=False)
    judge.limit(LATENCY, OUTBOX, 5)


def _included(judge: Judge) -> None:
    case = f"{ROUND_TRIP}: included"
    judge.times(ROUND_TRIP, 1.5, OURS, most=True, ours=INCLUDED, case=case, name="gearmand")
    judge.limit(BULK, INCLUDED_RAW, 50_000, most=False, case=f"{BULK}: included")
    stored = f"{BULK}: included, stored"
    judge.times(BULK, 10, GEARMAND_STORED, ours=INCLUDED_STORED, case=stored)
    judge.limit(QUEUED, INCLUDED, 110)  # 1 KB a job, and the workload


def _aside(judge: Judge) -> None:
    judge.limit(EAGER, "eager", 40)
    judge.limit(IN_TEST, "eager", 50)
    judge.limit(PLUGIN, "pytest", 10)
    judge.within(TRACED, 0.4, BARE, most=True, ours="eager")
    judge.limit(COUNTED, "eager", 10)
    judge.limit(UNCOUNTED, "eager", 1)
    judge.limit(SCRAPE, "eager", 50)
