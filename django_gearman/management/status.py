"""The screen of gearman_status: lines of text, each with the name of its style."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ..jobs.definition import JobDefinition
from ..protocol.messages import WorkerStatus
from ..worker.pausing import Pause
from .servers import Row, ServerState, queued_of
from .tables import Column, keep_start, table

_FUNCTIONS = (
    Column(" "),
    Column("QUEUE", least=7),
    Column("JOB", least=12),
    Column("queued", right=True),
    Column("delayed", right=True),
    Column("running", right=True),
    Column("workers", right=True),
)
_WORKERS = Column("WORKERS", least=12), Column("processes"), Column("queues or functions")
_OUR_ID = re.compile(r"(.+)/(\d+)/[^/]*")  # of GearmanWorker.client_id
_MOST_IDLE = 8  # jobs of a queue that are shown one by one on a terminal
_MOST_UNSERVED = 20  # functions that are shown on a terminal
_MOST_NAMES = 5  # functions in the message about jobs without a worker
_MOST_PROCESSES = 4  # whose ids are shown


class Line(NamedTuple):
    """A line of the screen; `style` is an attribute of Django's styles, or ""."""

    text: str
    style: str = ""


def screen(
    states: Sequence[ServerState],
    rows: Sequence[Row],
    jobs: Mapping[str, JobDefinition],
    width: int | None,
    paused: Mapping[str, Pause] | None = None,
) -> list[Line]:
    """Return the whole screen, for a terminal of this width; None: as wide as its text."""
    lines = [*_server_lines(states)]
    if all(state.error is not None for state in states):
        return lines
    shown = [row for row in rows if not (row.is_idle and not row.is_ours)]
    if shown:
        lines += _function_lines(shown, width)
    hidden = len(rows) - len(shown)
    if hidden:
        lines.append(Line(f"({_count(hidden, 'idle function')} of other programs)"))
    workers = [worker for state in states for worker in state.workers]
    if workers:
        lines += _worker_lines(workers, jobs, width)
    lines += _advice(rows, bool(workers), jobs, paused or {})
    return [Line(keep_start(text, width), style) for text, style in lines]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _server_lines(states: Sequence[ServerState]) -> Iterator[Line]:
    names = [str(state.address) for state in states]
    width = max(map(len, names))
    for name, state in zip(names, states, strict=True):
        if state.error is not None:
            yield Line(f"{name:{width}}  DOWN", "ERROR")
            continue
        queued = sum(map(queued_of, state.functions))
        running = sum(status.running for status in state.functions)
        workers = len({(each.client_id, each.address) for each in state.workers})
        parts = [f"{name:{width}}  up", state.answer.software]
        parts.append(f"{_count(workers, 'worker')}, {queued} queued, {running} running")
        yield Line("  ".join(filter(None, parts)), "SUCCESS")


def _function_lines(rows: Sequence[Row], width: int | None) -> Iterator[Line]:
    cells, styles, last = [], list[str](), ""
    hidden = 0
    if width is not None:
        unserved = [row for row in rows if row.unserved_on]
        hidden = len(unserved[_MOST_UNSERVED:])
        rows = [*unserved[:_MOST_UNSERVED], *rows[len(unserved) :]]
    for row, name in _summed_up(rows) if width is not None else [(row, "") for row in rows]:
        queue = "" if row.queue == last and not row.unserved_on else row.queue
        last = "" if row.unserved_on else row.queue
        name = name or (row.function if row.job is None else row.job.name)
        numbers = row.queued, row.delayed, row.running, row.workers
        cells.append(["!" if row.unserved_on else " ", queue, name, *map(str, numbers)])
        styles.append("ERROR" if row.unserved_on else "")
    head, *lines = table(_FUNCTIONS, cells, width)
    yield Line(head, "MIGRATE_HEADING")
    for number, (line, style) in enumerate(zip(lines, styles, strict=True), 1):
        yield Line(line, style)
        if hidden and number == _MOST_UNSERVED:
            yield Line(f"!  ({hidden} more functions without a worker; --json has all)", "ERROR")


def _summed_up(rows: Sequence[Row]) -> Iterator[tuple[Row, str]]:
    """Yield each row, or one for all the idle functions of a queue if they are many, with its name."""
    idle: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        if not (row.waiting or row.running):
            idle.setdefault((row.queue, row.workers), []).append(row)
    for row in rows:
        group = idle.get((row.queue, row.workers), [])
        if len(group) <= _MOST_IDLE or row.waiting or row.running:
            yield row, ""
        elif row is group[0]:
            yield row, f"({len(group)} idle {'functions' if row.job is None else 'jobs'})"


def _worker_lines(
    workers: Iterable[WorkerStatus], jobs: Mapping[str, JobDefinition], width: int | None
) -> Iterator[Line]:
    groups: dict[tuple[str, str], set[str]] = {}
    for worker in workers:
        own = _OUR_ID.fullmatch(worker.client_id)
        name, process = (own[1], own[2]) if own else (worker.client_id, worker.address)
        groups.setdefault((name, _served(worker, jobs)), set()).add(process)
    cells = [
        [name, _ids(processes), served] for (name, served), processes in sorted(groups.items())
    ]
    head, *lines = table(_WORKERS, cells, width)
    yield Line(head, "MIGRATE_HEADING")
    yield from map(Line, lines)


def _served(worker: WorkerStatus, jobs: Mapping[str, JobDefinition]) -> str:
    """Return the queues that a worker serves, and its functions that are not jobs of the project."""
    ours = {jobs[function].queue for function in worker.functions if function in jobs}
    others = [function for function in worker.functions if function not in jobs]
    return ", ".join([*sorted(ours), *others])


def _ids(processes: set[str]) -> str:
    shown = sorted(processes, key=lambda each: (len(each), each))
    if len(shown) > _MOST_PROCESSES:
        return f"{len(shown)}: {', '.join(shown[: _MOST_PROCESSES - 1])}, .."
    return ", ".join(shown)


def _advice(
    rows: Sequence[Row],
    has_workers: bool,
    jobs: Mapping[str, JobDefinition],
    paused: Mapping[str, Pause],
) -> Iterator[Line]:
    """Say which queues are paused, and which ones no worker serves, if any."""
    for queue, pause in paused.items():
        by = f" by {pause.by}" if pause.by else ""
        since = f"{pause.at:%Y-%m-%d %H:%M}"
        yield Line(
            f"Queue {queue} is paused{by} since {since}: gearman_control resume {queue}", "WARNING"
        )
    served = {row.job.queue for row in rows if row.job is not None and row.workers}
    unserved = sorted({job.queue for job in jobs.values()} - served - paused.keys())
    if not has_workers:
        yield Line("No worker is connected. Start one: python manage.py gearman_worker", "WARNING")
    elif unserved:
        yield Line(f"No worker serves queue {', '.join(unserved)}", "WARNING")


def trouble(states: Sequence[ServerState], rows: Sequence[Row]) -> tuple[str, int]:
    """Return a message and an exit code: 1 if a server is down, 2 for jobs without a worker."""
    down = [str(state.error) for state in states if state.error is not None]
    if down:
        verb = "is" if len(down) == 1 else "are"
        return (
            f"{len(down)} of {_count(len(states), 'job server')} {verb} down: {'; '.join(down)}",
            1,
        )
    waiting = [_waiting(row, states) for row in rows if row.unserved_on]
    if len(waiting) > _MOST_NAMES:
        waiting[_MOST_NAMES:] = [f"{len(waiting) - _MOST_NAMES} other functions"]
    if waiting:
        remedy = "Start a worker for them, or drop them with gearman_purge"
        return f"no worker serves the jobs of {', '.join(waiting)}. {remedy}", 2
    return "", 0


def _waiting(row: Row, states: Sequence[ServerState]) -> str:
    number = str(row.waiting)
    where = f" at {', '.join(row.unserved_on)}" if len(states) > 1 else ""
    owner = "" if row.is_ours else ", not of this project"
    return f"{row.function} ({number}{where}{owner})"
