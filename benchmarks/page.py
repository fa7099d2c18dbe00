"""The tables in docs/explanation/performance.md, which a full run writes between their marks."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from .goals import Verdict, short, verdicts
from .names import (
    ASYNCHRONOUS,
    BULK,
    DOZES,
    DRAIN,
    MANY,
    NAPS,
    OURS,
    OUTBOX_TASKS,
    OX,
    RAW,
    ROUND_TRIP,
    STORED_TASKS,
    SUBMIT,
    TASKS,
    TASKS_DB,
    THREADED,
    C,
    cpu,
)
from .processes import ROOT
from .report import machine
from .results import Results
from .runs import Run

PAGE = ROOT / "docs" / "explanation" / "performance.md"
COMMAND = "make bench"

_PROGRAMS = {"Python": "python", "gearmand": "gearmand", "Redis": "redis"}
#: The systems of the first table, and their names for readers.
_SYSTEMS = {
    OURS: "this library",
    C: "libgearman (C)",
    RAW: "sockets in Python",
    "celery": "Celery",
    "huey": "Huey",
    "dramatiq": "Dramatiq",
    "rq": "RQ",
}
_ROUND_TRIP = "round trip, 100 B"
_FIGURES = {
    "round trip, p50": ROUND_TRIP,
    "submit one by one": SUBMIT,
    "`submit_multiple_jobs`, 1,000 at once": BULK,
    "`enqueue_many`, 1,000 at once": MANY,
    "drain, one process": DRAIN,
    "CPU of a round trip: client": cpu(_ROUND_TRIP, "client"),
    "CPU of a round trip: worker": cpu(_ROUND_TRIP, "worker"),
    "CPU of a submission: client": cpu(SUBMIT, "client"),
    "CPU of a drained job: worker": cpu(DRAIN, "worker"),
    "CPU of a drained job: server": cpu(DRAIN, "server"),
}
_OPTIONS = {
    OURS: "this library, `--threads {}`",
    "celery": "Celery, `--pool threads -c {}`",
    "dramatiq": "Dramatiq, `--threads {}`",
    "huey": "Huey, `-k thread -w {}`",
    "arq": "arq, `max_jobs`",
    "saq": "SAQ, `concurrency`",
    "taskiq": "taskiq, `--max-async-tasks`, uvloop",
    "procrastinate": "Procrastinate, `--concurrency`, PostgreSQL",
}
_BACKENDS = {
    OURS: "`do_background`, for comparison",
    TASKS: "this library",
    STORED_TASKS: "this library, with the store",
    OUTBOX_TASKS: "this library, with the store and the outbox",
    OX: "django-ox",
    TASKS_DB: "django-tasks-db",
}


def marks(name: str, command: str) -> tuple[str, str]:
    """Return the comments in a page before and after what a command writes."""
    return f"<!-- {name}: {command} writes this -->", f"<!-- end of {name} -->"


def write_between(page: Path, name: str, command: str, text: str) -> None:
    """Put a text between its marks in a page; raise ValueError if these are not there."""
    begin, end = marks(name, command)
    old = page.read_text()
    before, _, rest = old.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"{page} has no place for the table: {begin}")
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}")


def write_page(page: Path, results: Results, runs: Sequence[Run]) -> None:
    """Write the tables of a run, and how its goals went in the last runs."""
    texts = {
        "run": f"{conditions(results)}\n\n{run_table(results)}",
        "threads": slots_table(results, NAPS, (OURS, *THREADED), 50),
        "coroutines": slots_table(results, DOZES, (OURS, *ASYNCHRONOUS), 1000),
        "tasks": tasks_table(results),
        "goals": goals_table(verdicts(results), runs),
    }
    for name, text in texts.items():
        write_between(page, name, COMMAND, warning(results.load) + text)


def warning(load: float) -> str:
    """Return a paragraph if the load average before the run tells a busy machine, else nothing."""
    if load <= (os.cpu_count() or 1) / 2:
        return ""
    return (
        f"**Measured on a busy machine** (load average {load:.1f} before the run): rates "
        "are too low, and costs too high.\n\n"
    )


def conditions(results: Results) -> str:
    """Return a sentence about the run and the machine."""
    here = machine()
    programs = [f"{name} {here[key]}" for name, key in _PROGRAMS.items() if here[key]]
    return (
        f"Medians of {results.rounds} rounds on {here['cores']} processors, with "
        f"{', '.join(programs)}."
    )


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join([_row(*head), "|" + "---|" * len(head), *(_row(*row) for row in rows)])


def _cell(results: Results, title: str, system: str, unit: bool = True) -> str:
    figure = results.get(title, system)
    if figure is None:
        return ""
    sign = {"jobs/s": "/s"}.get(figure.unit, f" {figure.unit}")
    return short(figure.median) + (sign if unit else "")


def run_table(results: Results) -> str:
    """Return the table of the main figures, of all systems."""
    rows = [
        [name, *(_cell(results, title, system) for system in _SYSTEMS)]
        for name, title in _FIGURES.items()
    ]
    return _table(["100 bytes of payload", *_SYSTEMS.values()], rows)


def slots_table(results: Results, title: str, systems: Sequence[str], slots: int) -> str:
    """Return the table of a number of jobs at a time, in one process."""
    ideal = slots / 0.05
    rows = []
    for system in systems:
        rate = results.get(title, system)
        rows.append(
            [
                _OPTIONS[system].format(slots),
                _cell(results, title, system),
                "" if rate is None else f"{rate.median / ideal:.2g}",
                _cell(results, cpu(title), system),
                _cell(results, f"{title}, memory", system),
                _cell(results, f"{title}, peak RSS", system),
            ]
        )
    head = [
        f"{slots:,} at a time",
        "jobs",
        "of the ideal",
        "CPU of a job",
        "memory",
        "peak RSS of the process",
    ]
    return _table(head, rows)


def tasks_table(results: Results) -> str:
    """Return the table of the backends of `django.tasks`."""
    titles = [SUBMIT, cpu(SUBMIT, "client"), DRAIN, cpu(DRAIN, "worker")]
    rows = [
        [name, *(_cell(results, title, system) for title in titles)]
        for system, name in _BACKENDS.items()
    ]
    head = ["backend", "enqueue", "CPU of the client", "drain, one process", "CPU of the worker"]
    return _table(head, rows)


def goals_table(found: Sequence[Verdict], runs: Sequence[Mapping[str, float]]) -> str:
    """Return the table of the goals: this run's value, and if the goal held in all runs."""
    count = f"each of {len(runs)} runs" if len(runs) > 1 else "one run"
    lines, group = [_row("goal", "", "this run", f"met in {count}"), "|---|---|---|---|"], ""
    for verdict in found:
        if verdict.group != group:
            group = verdict.group
            lines.append(_row(f"**{group}**", "", "", ""))
        goal = re.sub(r" \(.*\)", "", verdict.goal)
        lines.append(_row(verdict.case, goal, verdict.measured, _always(verdict, runs)))
    return "\n".join(lines)


def _always(verdict: Verdict, runs: Sequence[Mapping[str, float]]) -> str:
    """Return if a goal was met in all runs, with the spread."""
    values = [run[verdict.key] for run in runs if verdict.key in run]
    if not values:
        return "not measured"
    low, high = min(values), max(values)
    spread = short(low) if short(low) == short(high) else f"{short(low)} to {short(high)}"
    met = (high <= verdict.limit) if verdict.most else (low >= verdict.limit)
    return f"yes: {spread}" if met else f"**no**: {spread}"
