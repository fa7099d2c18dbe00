"""Goals of the library, as ratios within one run, and a check of them."""

from __future__ import annotations

from dataclasses import dataclass

from .results import Results, ratio

OURS, C, RAW = "gearman", "libgearman C", "raw Python"
STORE = "gearman, store installed"
INCLUDED, INCLUDED_RAW = "included server", "raw Python, included"
INCLUDED_STORED, GEARMAND_STORED = "raw Python, included, stored", "raw Python, libsqlite3"
PEERS = ("celery", "rq", "dramatiq", "huey", "django-tasks-db")
TASKS, STORED_TASKS, OX = "tasks", "tasks, stored", "django-ox"

AWAITED = "await 1,000 jobs of 50 ms at once"
ASYNC_NOOP, NAPS = "async no-op, 200 slots", "50 ms in 50 threads"
DOZES = "50 ms in 1,000 coroutines"
OUTBOX = "outbox"
TRACED, BARE = "traced job, over the SDK, CPU", "OpenTelemetry's SDK for two spans, CPU"
COUNTED, UNCOUNTED = "job with metrics, CPU", "job without metrics, CPU for them"
SCRAPE = "page of metrics after 1,000 processes"
RELAY, TRANSACTION = "relay of the outbox", "transaction"
TRANSACTION_WITH_JOB = "transaction with a job in the outbox"
LATENCY = "from commit to run through the outbox, p50"
ROUND_TRIP, SUBMIT, DRAIN = "round trip, 100 B, p50", "submit, 100 B", "drain, 100 B"


@dataclass(frozen=True)
class Verdict:
    """One goal and its measured value; None if it could not be measured."""

    case: str
    goal: str
    measured: str
    met: bool | None

    def __str__(self) -> str:
        verdict = {True: "met", False: "missed", None: "not measured"}[self.met]
        return f"{self.case:50} goal: {self.goal:28} measured {self.measured:>9}: {verdict}"


def at_most(case: str, limit: float, of: str, measured: float | None) -> Verdict:
    text = "-" if measured is None else f"{measured:.2f}"
    return Verdict(
        case, f"<= {limit:g} x {of}", text, None if measured is None else measured <= limit
    )


def at_least(case: str, limit: float, of: str, measured: float | None) -> Verdict:
    text = "-" if measured is None else f"{measured:.2f}"
    return Verdict(
        case, f">= {limit:g} x {of}", text, None if measured is None else measured >= limit
    )


def limit(results: Results, title: str, system: str, most: float) -> Verdict:
    figure = results.get(title, system)
    if figure is None:
        return Verdict(title, f"<= {most:g}", "-", None)
    measured = f"{figure.median:.1f} {figure.unit}"
    return Verdict(title, f"<= {most:g} {figure.unit}", measured, figure.median <= most)


def verdicts(results: Results) -> list[Verdict]:
    """Judge all goals."""

    def against(title: str, other: str) -> float | None:
        return ratio(results.get(title, OURS), results.get(title, other))

    def within(one: str, other: str) -> float | None:
        return ratio(results.get(one, OURS), results.get(other, OURS))

    def rate_of(title: str) -> float | None:
        figure = results.get(title, OURS)
        return None if figure is None else figure.median

    bulk, large = "submit in bulk, 100 B", "round trip, 100 KB, p50"
    many, singly = "two workers, map of 1,000", "two workers, one by one"
    return [
        at_most(ROUND_TRIP, 1.15, C, against(ROUND_TRIP, C)),
        at_most(large, 1, C, against(large, C)),
        at_least(SUBMIT, 0.7, C, against(SUBMIT, C)),
        at_least(bulk, 0.33, RAW, against(bulk, RAW)),
        at_least(DRAIN, 1.5, C, against(DRAIN, C)),
        at_least(many, 5, "one by one", within(many, singly)),
        at_least(AWAITED, 7000, "one a second", rate_of(AWAITED)),
        limit(results, f"{AWAITED}, CPU", OURS, 50),
        at_least(ASYNC_NOOP, 20_000, "one a second", rate_of(ASYNC_NOOP)),
        at_least(NAPS, 900, "one a second", rate_of(NAPS)),
        at_least(DOZES, 10_000, "one a second", rate_of(DOZES)),
        limit(results, f"{DOZES}, memory", OURS, 40),
        *_store(results),
        *_outbox(results),
        *_included(results),
        *_tasks(results),
        *_against_celery(results),
        *_against_the_best(results),
        limit(results, "eager job, over a plain call", "eager", 40),
        at_most(
            TRACED, 0.4, "the SDK", ratio(results.get(TRACED, "eager"), results.get(BARE, "eager"))
        ),
        limit(results, COUNTED, "eager", 10),
        limit(results, UNCOUNTED, "eager", 1),
        limit(results, SCRAPE, "eager", 50),
        at_most(
            "memory of 5 workers", 1.8, "one", within("memory of 5 workers", "memory of 1 worker")
        ),
        limit(results, "job in a test, over a plain call", "eager", 50),
        limit(results, "pytest plugin, over a session without", "pytest", 10),
    ]


def _store(results: Results) -> list[Verdict]:
    """Judge jobs that are not recorded, in a project that has the store installed."""
    return [
        at_least(
            f"{title}: store installed",
            0.99,
            "without",
            ratio(results.get(title, STORE), results.get(title, OURS)),
        )
        for title in (SUBMIT, DRAIN)
    ]


def _outbox(results: Results) -> list[Verdict]:
    """Judge the outbox: its row in the caller's transaction, and its relay."""
    relay = results.get(RELAY, OUTBOX)
    cost = ratio(results.get(TRANSACTION_WITH_JOB, OUTBOX), results.get(TRANSACTION, OUTBOX))
    return [
        at_most(TRANSACTION_WITH_JOB, 1.3, "one without", cost),
        at_least(RELAY, 8000, "one a second", None if relay is None else relay.median),
        limit(results, LATENCY, OUTBOX, 5),
    ]


def _included(results: Results) -> list[Verdict]:
    """Judge the included server beside gearmand, with the same clients and workers."""
    bulk, growth = "submit in bulk, 100 B", "queue 100,000 jobs, growth"

    def times(title: str, one: str, other: str) -> float | None:
        return ratio(results.get(title, one), results.get(title, other))

    rate = results.get(bulk, INCLUDED_RAW)
    return [
        at_most(f"{ROUND_TRIP}: included", 1.5, "gearmand", times(ROUND_TRIP, INCLUDED, OURS)),
        at_least(
            f"{bulk}: included", 50_000, "one a second", None if rate is None else rate.median
        ),
        at_least(
            f"{bulk}: stored", 10, "libsqlite3", times(bulk, INCLUDED_STORED, GEARMAND_STORED)
        ),
        limit(results, growth, INCLUDED, 110),  # 1 KB a job, and the workload
    ]


def _tasks(results: Results) -> list[Verdict]:
    """Judge the backend of `django.tasks`."""

    def times(one: str, other: str) -> float | None:
        return ratio(results.get(SUBMIT, one), results.get(SUBMIT, other))

    drained = results.get(DRAIN, TASKS)
    rate = None if drained is None else drained.median
    return [
        at_least(f"{SUBMIT}: tasks", 0.8, "do_background", times(TASKS, OURS)),
        at_least(f"{DRAIN}: tasks", 15_000, "one a second", rate),
        at_least(f"{SUBMIT}: stored tasks", 0.8, OX, times(STORED_TASKS, OX)),
    ]


def _better(results: Results, title: str, peer: str) -> float | None:
    """Return how many times better we are than the peer."""
    ours, theirs = results.get(title, OURS), results.get(title, peer)
    return ratio(theirs, ours) if title == ROUND_TRIP else ratio(ours, theirs)


def _against_celery(results: Results) -> list[Verdict]:
    goals = {SUBMIT: 5, DRAIN: 15, ROUND_TRIP: 10}
    return [
        at_least(f"{title}: better than Celery", times, "Celery", _better(results, title, "celery"))
        for title, times in goals.items()
    ]


def _against_the_best(results: Results) -> list[Verdict]:
    found = []
    for title, times in {SUBMIT: 1, DRAIN: 8, ROUND_TRIP: 1}.items():
        ahead = {
            peer: times_better
            for peer in PEERS
            if (times_better := _better(results, title, peer)) is not None
        }
        best = min(ahead, key=lambda peer: ahead[peer], default="")
        case = f"{title}: better than the best peer"
        found.append(at_least(case, times, best or "the best peer", ahead.get(best)))
    return found
