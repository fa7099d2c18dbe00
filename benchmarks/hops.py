"""
Count how far a call travels inside the package: Python calls, modules, and changes of module.

    .venv/bin/python -m benchmarks.hops

A reader who follows a call with a debugger takes these steps, so fewer are better. Each figure is of
one warm call, and counts only the package's own functions. The bytecode instructions are those of
all Python code. They are the same on a busy machine, where times are not.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import django

import django_gearman

_PACKAGE = str(Path(django_gearman.__file__).parent) + os.sep
_WARM_CALLS, _MANY = 3, 100


class Hops(NamedTuple):
    """The figures of one call."""

    calls: int
    modules: int
    changes: int  # how often the module changed from one call to the next
    instructions: int  # of all Python code


def count(work: Callable[[], object]) -> Hops:
    """Run `work` until it is warm, then once more, and count."""
    for _ in range(_WARM_CALLS):
        work()
    visited: list[str] = []

    def note(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(_PACKAGE):
            visited.append(frame.f_code.co_filename)

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    changes = sum(one != other for one, other in itertools.pairwise(visited))
    return Hops(len(visited), len(set(visited)), changes, _instructions(work))


def _instructions(work: Callable[[], object]) -> int:
    counts = itertools.count()

    def note(frame: FrameType, event: str, argument: object) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            next(counts)
        return note

    sys.settrace(note)
    try:
        work()
    finally:
        sys.settrace(None)
    return next(counts)


class Client:
    """A process of the driver, with the jobs in its memory."""

    def __init__(self) -> None:
        django.setup()

    def instructions(self) -> float:
        """Return the bytecode instructions of a job that does nothing: its submission and its run."""
        from benchmarks.gearman_jobs import noop
        from django_gearman import GearmanWorker

        def queue_and_run(number: int) -> Callable[[], object]:
            def work() -> None:
                for _ in range(number):
                    noop.do_background("x")
                GearmanWorker().work(burst=True)

            return work

        for _ in range(_WARM_CALLS):
            queue_and_run(_MANY)()
        more = _instructions(queue_and_run(2 * _MANY)) - _instructions(queue_and_run(_MANY))
        return more / _MANY


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
    os.environ.setdefault("GEARMAN_BACKEND", "eager")
    django.setup()
    from django.conf import settings

    from benchmarks.gearman_jobs import echo

    line = "{:24}{:>8}{:>9}{:>9}{:>14}"
    print(line.format("", *Hops._fields))
    # By assignment: django.test would make this process one that may run tests.
    settings.GEARMAN_BACKEND = "eager"
    print(line.format("do() on eager", *count(lambda: echo.do("x"))))
    settings.GEARMAN_BACKEND = "memory"
    print(line.format("do_background() on memory", *count(lambda: echo.do_background("x"))))


if __name__ == "__main__":
    main()
