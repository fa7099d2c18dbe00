"""The plan of a run: cases, their systems, and their numbers of jobs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from . import cases, local, slots
from .cases import Measured
from .django_tasks import systems as django_tasks
from .names import GEARMAND_STORED, INCLUDED, INCLUDED_RAW, INCLUDED_STORED, OURS, OUTBOX, STORE
from .peers import systems as peers
from .servers import gearmand, included
from .systems import System, compiled, ours, raw

#: The kernel places processes anew each time, which can double a round trip or halve it.
TURNS = 3


@dataclass(frozen=True)
class Step:
    """
    One measurement; those that depend on the place of processes have several turns in a round. Those
    that are slow and vary little are measured in every other round.
    """

    case: str
    system: str
    measure: Callable[[], Measured]
    turn: int = 0
    slow: bool = False

    def is_in(self, number: int) -> bool:
        """Return whether a round measures it; rounds count from 1."""
        return not self.slow or number % 2 == 1


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
        self,
        case: Callable[..., Measured],
        system: System,
        *numbers: int,
        turn: int = 0,
        slow: bool = False,
    ) -> None:
        def measure() -> Measured:
            return case(system, *numbers)

        self.steps.append(Step(case.__name__, system.name, measure, turn, slow))

    def add_all(self, *, with_peers: bool = True) -> None:
        self._round_trips()
        self._background()
        self._servers()
        self._tasks(with_peers)
        if with_peers:
            try:
                peers.installed()
            except FileNotFoundError as error:
                self.notes.append(f"The peers are left out: {error}")
                with_peers = False
        if with_peers:
            self._peers()
        self._at_a_time(with_peers)
        self._others()

    def _round_trips(self) -> None:
        wire = [*self.floors, self.gearman, self.bindings]
        for size, count in {100: 1000, 1000: 1000, 100_000: 300}.items():
            for turn in range(1 if size == 1000 else TURNS):
                for system in [*wire, self.included] if size == 100 else wire:
                    jobs, slow = self.jobs(count), size == 1000
                    self.step(cases.round_trip, system, size, jobs, turn=turn, slow=slow)
        for system in (self.memory, self.eager):
            self.step(cases.round_trip, system, 100, self.jobs(2000))

    def _background(self) -> None:
        for size, count in {100: 20_000, 1000: 20_000, 100_000: 400}.items():
            singly, in_bulk = count // 10, count - count // 10
            systems = [*self.floors, self.gearman, *([self.store] if size == 100 else [])]
            for system in systems:
                jobs = self.jobs(singly), self.jobs(in_bulk)
                self.step(cases.background, system, size, *jobs, slow=size > 100)
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
        for system in peers.peers():
            jobs, calls = peers.COUNTS[system.name]
            slow = system.name == "django-tasks-db"
            self.step(cases.peer, system, self.jobs(jobs), calls, slow=slow)

    def _at_a_time(self, with_peers: bool) -> None:
        """Measure processes with several jobs at a time."""
        for job, number, count in (
            (cases.ASYNC, 200, 40_000),
            (cases.NAP, 50, 2000),
            (cases.DOZE, 1000, 40_000),
        ):
            system = slots.with_slots(self.gearman, number)
            self.step(slots.slots, system, job, number, self.jobs(count))
        if not with_peers:
            return
        for system in peers.in_threads(50):
            self.step(slots.slots, system, cases.NAP, 50, self.jobs(2000), slow=True)
        for system in peers.in_coroutines(1000):
            count = self.jobs(peers.DOZES[system.name])
            self.step(slots.slots, system, cases.DOZE, 1000, count, slow=True)

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
        self.step(cases.many, self.gearman, self.jobs(20_000))
        self.step(cases.drain_by_two, self.gearman, self.jobs(40_000))
        self.step(cases.worker_memory, self.gearman, self.jobs(200), slow=True)
        for system in (self.gearman, self.memory):
            self.step(cases.queued, system, self.jobs(100_000), slow=True)
        self.step(cases.delayed, self.gearman, self.jobs(100_000), self.jobs(10_000), slow=True)
        self.step(cases.idle, self.gearman, 20, slow=True)
        rows = partial(cases.outbox, self.jobs(20_000))
        self.steps.append(Step(cases.outbox.__name__, OUTBOX, rows, slow=True))
        for case, name in {
            local.job_costs: "eager",
            local.tracing: "eager",
            local.metrics: "eager",
            local.session_costs: "pytest",
            local.imports: "python",
            local.instructions: OURS,
        }.items():
            self.steps.append(Step(case.__name__, name, case, slow=True))
