"""The plan of a run: cases, their systems, and their numbers of jobs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from . import cases, local, slots
from .cases import Measured
from .django_tasks import systems as django_tasks
from .goals import GEARMAND_STORED, INCLUDED, INCLUDED_RAW, INCLUDED_STORED, OUTBOX, STORE
from .peers.systems import COUNTS, peers
from .servers import gearmand, included
from .systems import System, compiled, ours, raw

#: The kernel places processes anew each time, which can double a round trip or halve it.
TURNS = 3


@dataclass(frozen=True)
class Step:
    """
    One measurement; those that depend on the place of processes have several turns in a round.
    """

    case: str
    system: str
    measure: Callable[[], Measured]
    turn: int = 0


class Plan:
    """The steps of a round; `scale` reduces the numbers of jobs, and notes list missing systems."""

    def __init__(self, scale: float = 1.0) -> None:
        self.steps: list[Step] = []
        self.notes: list[str] = []
        self._scale = scale
        self.gearman, self.bindings = ours("gearman"), ours("python-gearman")
        self.store = ours("gearman", name=STORE, stores=True)
        self.memory, self.eager = ours("memory"), ours("eager")
        self.included = ours("gearman", included, INCLUDED)
        self.raw = raw(1)
        self.floors = [self.raw]
        try:
            self.floors.append(compiled())
        except (FileNotFoundError, RuntimeError) as error:
            self.notes.append(f"libgearman C is left out: {error}")

    def jobs(self, count: int) -> int:
        return max(20, int(count * self._scale))

    def step(
        self, case: Callable[..., Measured], system: System, *numbers: int, turn: int = 0
    ) -> None:
        def measure() -> Measured:
            return case(system, *numbers)

        self.steps.append(Step(case.__name__, system.name, measure, turn))

    def add_all(self, *, with_peers: bool = True) -> None:
        self._round_trips()
        self._background()
        self._servers()
        self._tasks(with_peers)
        if with_peers:
            self._peers()
        self._others()

    def _round_trips(self) -> None:
        wire = [*self.floors, self.gearman, self.bindings]
        for size, count in {100: 1000, 1000: 1000, 100_000: 300}.items():
            for turn in range(1 if size == 1000 else TURNS):
                for system in [*wire, self.included] if size == 100 else wire:
                    self.step(cases.round_trip, system, size, self.jobs(count), turn=turn)
        for system in (self.memory, self.eager):
            self.step(cases.round_trip, system, 100, self.jobs(2000))

    def _background(self) -> None:
        for size, count in {100: 20_000, 1000: 20_000, 100_000: 400}.items():
            singly, in_bulk = count // 10, count - count // 10
            systems = [*self.floors, self.gearman, *([self.store] if size == 100 else [])]
            for system in systems:
                self.step(cases.background, system, size, self.jobs(singly), self.jobs(in_bulk))
        for window in (10, 50):
            self.step(cases.drain, raw(window), 100, self.jobs(20_000))
        for system in (self.bindings, self.memory):
            self.step(cases.background, system, 100, self.jobs(500), self.jobs(2000))

    def _servers(self) -> None:
        """Measure the included server, and both servers with their stores, by plain sockets."""
        self.step(cases.background, self.included, 100, self.jobs(2000), self.jobs(18_000))
        for system, count in {
            raw(1, included, INCLUDED_RAW): 100_000,
            raw(1, partial(included, stored=True), INCLUDED_STORED): 20_000,
            raw(1, partial(gearmand, stored=True), GEARMAND_STORED): 1000,
        }.items():
            self.step(cases.background, system, 100, self.jobs(count // 20), self.jobs(count))
        self.step(cases.queued, self.included, self.jobs(100_000))

    def _peers(self) -> None:
        try:
            systems = peers()
        except FileNotFoundError as error:
            self.notes.append(f"The peers are left out: {error}")
            return
        for system in systems:
            jobs, calls = COUNTS[system.name]
            self.step(cases.peer, system, self.jobs(jobs), calls)

    def _tasks(self, with_peers: bool) -> None:
        """Measure the backends of `django.tasks`; several turns, as their goals are narrow."""
        systems = [django_tasks.own()]
        try:
            systems += django_tasks.with_results() if with_peers else []
        except FileNotFoundError as error:
            self.notes.append(f"The backends of tasks with results are left out: {error}")
        counts = dict(django_tasks.SYSTEMS.values())
        for system in systems:
            self.step(cases.background, system, 100, self.jobs(counts[system.name]), 0)

    def _others(self) -> None:
        for turn in range(TURNS):
            self.step(cases.map_calls, self.gearman, self.jobs(500), turn=turn)
            self.step(cases.awaited, self.gearman, 1000, turn=turn)
        for job, number, count in (
            (slots.NOOP, 200, 40_000),
            (slots.NAP, 50, 2000),
            (slots.DOZE, 1000, 40_000),
        ):
            least = 4 * number  # otherwise the first and the last jobs run together
            self.step(slots.slots, self.gearman, job, number, max(least, self.jobs(count)))
        self.step(cases.worker_memory, self.gearman, self.jobs(200))
        for system in (self.gearman, self.memory):
            self.step(cases.queued, system, self.jobs(100_000))
        rows = partial(cases.outbox, self.jobs(20_000))
        self.steps.append(Step(cases.outbox.__name__, OUTBOX, rows))
        for case, name in {
            local.job_costs: "eager",
            local.tracing: "eager",
            local.metrics: "eager",
            local.session_costs: "pytest",
            local.imports: "python",
        }.items():
            self.steps.append(Step(case.__name__, name, case))
