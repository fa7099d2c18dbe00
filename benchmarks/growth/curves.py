"""The curves: each case measures a few points, with all else as it is by default."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from .stage import Costs, Stage

CLIENT, SERVER, WORKERS = "client", "gearmand", "workers"


@dataclass
class Curve:
    """The cost of a job over one quantity: CPU time in microseconds, by series and by x."""

    title: str
    over: str
    series: dict[str, dict[int, float]] = field(default_factory=dict)

    def add(self, x: int, **costs: float) -> None:
        for name, microseconds in costs.items():
            self.series.setdefault(name.replace("_", " "), {})[x] = microseconds

    def add_all(self, x: int, costs: Costs) -> None:
        self.add(x, client=costs.client, gearmand=costs.server, workers=costs.workers)


#: A case yields after each point, so that the command can show its progress.
Points = Iterator[None]


def payload(curve: Curve) -> Points:
    for size, count in {100: 500, 10_000: 300, 100_000: 200, 1_000_000: 40, 10_000_000: 6}.items():
        with Stage() as stage:
            json = stage.run("one_by_one", size=size, count=count)
            raw = stage.run("bytes_one_by_one", size=size, count=count)
        curve.add(size, client=json.client, client_raw=raw.client)
        curve.add(size, workers=json.workers, workers_raw=raw.workers, gearmand=json.server)
        yield


def functions(curve: Curve) -> Points:
    for number in (2, 100, 500, 2000):
        with Stage(functions=number - 2) as stage:
            curve.add_all(number, stage.run("one_by_one", size=100, count=500))
        yield


def servers(curve: Curve) -> Points:
    for number in (1, 2, 4, 8):
        with Stage(servers=number) as stage:
            curve.add_all(number, stage.run("in_bulk", size=100, count=10_000))
        yield


def processes(curve: Curve) -> Points:
    for number in (1, 4, 16, 32):
        for suffix, options in {"": [], "_w1": ["--worker-wakeup=1"]}.items():
            with Stage(processes=number, options=options) as stage:
                costs = stage.run("one_by_one", size=100, count=400)
            curve.add(
                number, **{f"gearmand{suffix}": costs.server, f"workers{suffix}": costs.workers}
            )
            yield


def at_a_time(curve: Curve) -> Points:
    """Jobs that wait for 50 ms, of which one process runs so many at a time."""
    for series, coroutines, numbers in (
        ("workers", 1, (1, 10, 100, 1000)),
        ("workers threads", 0, (1, 10, 50, 200)),
    ):
        for number in numbers:
            with Stage(threads=number) as stage:
                costs = stage.run("waiting", coroutines=coroutines, count=max(40, 10 * number))
            curve.add(number, **{series: costs.workers})
            yield


def queue_depth(curve: Curve) -> Points:
    """Jobs that are queued when so many are queued already."""
    for suffix, options in {"": [], "_buckets": ["--hashtable-buckets=1000003"]}.items():
        with Stage(processes=0, options=options) as stage:
            depth = 0
            for goal in (1000, 10_000, 100_000):
                stage.run("fill", size=100, count=goal - depth)
                costs = stage.run("fill", size=100, count=5000)
                depth = goal + 5000
                curve.add(
                    goal, **{f"client{suffix}": costs.client, f"gearmand{suffix}": costs.server}
                )
                yield


def threads(curve: Curve) -> Points:
    with Stage(processes=2) as stage:
        for number in (1, 4, 16, 64):
            curve.add_all(number, stage.run("in_threads", threads=number, count=1600))
            yield


def tasks(curve: Curve) -> Points:
    with Stage(processes=2) as stage:
        for number in (1, 10, 100, 1000):
            curve.add_all(number, stage.run("in_tasks", tasks=number, count=2000))
            yield


def delayed(curve: Curve) -> Points:
    """Jobs of a function of which so many others are due in two hours."""
    with Stage() as stage:
        depth = 0
        for goal in (1, 10_000, 50_000):
            stage.run("fill_later", size=100, count=goal - depth)
            depth = goal
            curve.add_all(goal, stage.run("in_bulk", size=100, count=5000))
            yield


def results(curve: Curve) -> Points:
    with Stage(processes=2) as stage:
        for number, times in {1: 300, 10: 100, 100: 20, 1000: 4, 10_000: 1}.items():
            costs = [stage.run("map", count=number) for _ in range(times)]
            curve.add(
                number,
                client=sum(each.client for each in costs) / times,
                gearmand=sum(each.server for each in costs) / times,
                workers=sum(each.workers for each in costs) / times,
            )
            yield


#: Each case, with the title of its curve and the quantity that grows.
CASES: dict[str, tuple[str, str, Callable[[Curve], Points]]] = {
    "payload": ("round trip", "bytes of payload", payload),
    "functions": ("round trip", "declared jobs", functions),
    "servers": ("submitted in bulk, and run", "job servers", servers),
    "processes": ("round trip", "worker processes", processes),
    "slots": ("jobs of 50 ms", "jobs at a time in a process", at_a_time),
    "queue": ("submitted in bulk", "jobs in the queue", queue_depth),
    "threads": ("round trips at once", "threads of the client", threads),
    "tasks": ("round trips at once", "tasks of one event loop", tasks),
    "delayed": ("submitted in bulk, and run", "delayed jobs beside them", delayed),
    "results": ("map", "results waited for", results),
}
