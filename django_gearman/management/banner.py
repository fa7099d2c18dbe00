"""The words of gearman_worker about itself: at its start, after a reload, and at its end."""

from __future__ import annotations

import os
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import django
from django.conf import settings

from ..backends import backend_settings, parse_servers, use_backend
from ..backends.base import ServerAnswer
from ..jobserver.serving import Options
from ..supervisor import Account, Slot
from ..utils.release import VERSION
from ..utils.text import str_of
from ..worker.worker import GearmanWorker

_PROBE_SECONDS = 1.0  # that a silent server may delay the start
_LABEL = 13  # characters
_MOST_NAMES = 5  # of jobs in one line
_UNITS = (("d", 86400), ("h", 3600), ("min", 60))


class Item(NamedTuple):
    """A line of the banner; `style` is an attribute of Django's styles, or ""."""

    label: str
    text: str
    style: str = ""


def banner(
    workers: Sequence[GearmanWorker],
    server: Options | None,
    services: Sequence[str] = (),
    *,
    logs: str,
    grace_period: float,
) -> list[Item]:
    """
    Return the lines for a worker with these processes.

    `server` is its own job server, and `services` are the names of those of the attendant.
    """
    module = getattr(settings, "SETTINGS_MODULE", None) or os.environ.get("DJANGO_SETTINGS_MODULE")
    versions = f"django-gearman {VERSION}, Django {django.get_version()}"
    jobs = {job.name for worker in workers for job in worker.jobs}
    how = f"Quit with CONTROL-C: running jobs get {grace_period:g} s to finish."
    return [
        Item("", f"{versions}, settings {module or 'set in code'}", "MIGRATE_HEADING"),
        *_servers(server),
        *_processes(workers, server, services),
        Item("Jobs", f"{len(jobs)} (gearman_list_tasks lists them)"),
        *_warnings(),
        Item("Logs", logs),
        Item("", how),
    ]


def _servers(own: Options | None) -> Iterator[Item]:
    _, servers, _ = backend_settings()
    addresses = parse_servers(servers)
    others = addresses if own is None else addresses[1:]
    answers: Mapping[str, ServerAnswer] = {}
    if others:
        answers = use_backend(others).probe(_PROBE_SECONDS)
    width = max(len(str(address)) for address in addresses)
    for address in addresses:
        name, answer = f"{address!s:{width}}", answers.get(str(address), ServerAnswer())
        if address not in others:
            yield Item("Job server", f"{name}  runs in this worker")
        elif answer.error is None:
            yield Item("Job server", f"{name}  up, {answer.software}".rstrip(", "), "SUCCESS")
        else:
            reason = str_of(answer.error).removeprefix(f"job server {address}: ")
            yield Item("Job server", f"{name}  DOWN: {reason}", "ERROR")


def _processes(
    workers: Sequence[GearmanWorker], server: Options | None, services: Sequence[str]
) -> Iterator[Item]:
    groups = Counter(
        (tuple(dict.fromkeys(worker.queues or ["*"])), worker.threads) for worker in workers
    )
    for (queues, threads), number in groups.items():
        own = "" if threads == 1 else f" with {threads} threads"
        noun = f"1 process{own} serves" if number == 1 else f"{number} processes{own} serve"
        if "*" in queues:
            yield Item("Processes", f"{noun} all queues")
        elif len(queues) == 1:
            yield Item("Processes", f"{noun} queue {queues[0]} only")
        else:
            share = "it" if number == 1 else "each of them"
            yield Item(
                "Processes", f"{noun} queues {', '.join(queues)}: {share} serves all of these"
            )
    if server is not None:
        kept = f"background jobs in {server.store}" if server.store else "jobs in memory"
        yield Item("Processes", f"1 more process is the job server, with {kept}")
    if services:
        yield Item("Processes", f"1 more process is the attendant: {', '.join(services)}")


def _warnings() -> Iterator[Item]:
    if settings.DEBUG:
        yield Item(
            "Warning",
            "DEBUG is True: Django keeps the SQL queries of a job in memory, and clients in other "
            "languages get tracebacks. Set DEBUG = False in production.",
            "WARNING",
        )


def as_text(items: Iterable[Item], width: int | None) -> Iterator[tuple[str, str]]:
    """Yield each line of the text with its style: labels once, at the left."""
    last = ""
    for label, text, style in items:
        head = f"{'' if label == last else label:{_LABEL}}" if label else ""
        last = label
        lines = [text] if width is None else textwrap.wrap(text, max(20, width - len(head)))
        for number, line in enumerate(lines):
            yield (head if number == 0 else " " * len(head)) + line, style


# Reload


def describe_release(workers: Iterable[GearmanWorker], slots: Iterable[Slot]) -> dict[str, Any]:
    """Return the properties that may differ in the next release, in values for JSON."""
    return {
        "versions": {"django-gearman": VERSION, "Django": django.get_version()},
        "folder": os.path.realpath(os.curdir),
        "jobs": sorted({job.name for worker in workers for job in worker.jobs}),
        "processes": sorted(slot.name for slot in slots if not slot.is_service),
    }


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return one line about a reload: the differences between two releases."""
    parts = [
        f"{len(now['jobs'])} jobs{_difference(before.get('jobs', now['jobs']), now['jobs'])}",
        *_moved(before.get("versions", {}), now["versions"]),
        *_moved({"folder": before.get("folder", now["folder"])}, {"folder": now["folder"]}),
    ]
    processes = now["processes"]
    differs = _difference(before.get("processes", processes), processes)
    parts.append(f"replacing {len(processes)} processes one by one{differs}")
    return "; ".join(parts)


def _difference(before: Sequence[str], now: Sequence[str]) -> str:
    """Return the added and the removed names, for example ", 1 added (shop.resize)"."""
    text = ""
    for verb, names in (
        ("added", [name for name in now if name not in before]),
        ("removed", [name for name in before if name not in now]),
    ):
        if names:
            more = ", .." if len(names) > _MOST_NAMES else ""
            text += f", {len(names)} {verb} ({', '.join(names[:_MOST_NAMES])}{more})"
    return text


def _moved(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    return [
        f"{name} {before[name]} -> {value}"
        for name, value in now.items()
        if before.get(name, value) != value
    ]


# End


def farewell(account: Account) -> str:
    """Return one line about the jobs of a worker."""
    done, failed, retried = account.tally
    parts = [f"{done} {'job' if done == 1 else 'jobs'} done", f"{failed} failed"]
    parts.append(f"{retried} retried in {duration(account.seconds)}")
    text = ", ".join(parts)
    if account.interrupted:
        text += f"; {account.interrupted} interrupted, to run again on another worker"
    return text


def duration(seconds: float) -> str:
    """Return a time in its one or two largest units."""
    for place, (unit, size) in enumerate(_UNITS):
        if seconds >= size:
            whole, rest = divmod(round(seconds), size)
            smaller, smaller_size = _UNITS[place + 1] if place + 1 < len(_UNITS) else ("s", 1)
            lesser = rest // smaller_size
            return f"{whole} {unit} {lesser} {smaller}" if lesser else f"{whole} {unit}"
    return f"{seconds:.1f} s"
