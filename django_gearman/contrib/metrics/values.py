"""
Values of metrics which all processes of a supervisor share, in files of a private directory.

prometheus_client names a file after the process that writes it, so each process that ends would leave
its files behind. Here they are named after the number that the supervisor gives to the process: the
next process with the number continues the file. So there are as many files as processes that run at the
same time, and counters never fall.

A process that a job forks does not belong to the supervisor. Its files are named after its process id
(see `strays`).
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from typing import Any

from prometheus_client import Counter, Gauge, Histogram, Summary, values
from prometheus_client.multiprocess import mark_process_dead

#: The variable in which prometheus_client looks for the directory.
VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

_SHARED = (Counter, Gauge, Histogram, Summary)
_PREFIX = "slot"
#: The name of the files of this process; each process has another object.
current = f"{_PREFIX}0"


def name_of(number: int) -> str:
    """Return the name of the files of the process with this number; the supervisor's is 0."""
    return f"{_PREFIX}{number}"


def share_values(directory: str) -> None:
    """
    Keep the values of all metrics in this directory from now on, also of those that exist already.

    Counters and gauges keep their present values.
    """
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = directory
    try:
        values.ValueClass = values.MultiProcessValue(lambda: current)  # type: ignore[no-untyped-call]
        for metric in _metrics():
            _share(metric)
    finally:  # programs that the supervisor starts are no processes of it
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


def begin_process(number: int, directory: str) -> None:
    """Write the values of this forked process to the files with its number."""
    global current
    os.environ[VARIABLE] = directory
    current = name_of(number)
    # Its live gauges are those of the process before.
    mark_process_dead(current, directory)  # type: ignore[no-untyped-call]
    os.register_at_fork(after_in_child=_leave)


def _leave() -> None:
    global current
    current = str(os.getpid())


def _metrics() -> Iterator[Any]:
    """Yield each metric of this process, and the children of those with labels."""
    gc.unfreeze()  # the project may have frozen its modules; the supervisor freezes all anyway
    for each in gc.get_objects():
        if issubclass(type(each), _SHARED):  # isinstance would evaluate lazy objects of Django
            yield each


def _share(metric: Any) -> None:
    """
    Create the values of a metric anew.

    prometheus_client has no public way: it needs the variable in the environment before the project
    is imported. `_metric_init` is where each kind of metric creates its values.
    """
    if not metric._is_observable():
        return
    simple = isinstance(metric, (Counter, Gauge))
    value = metric._value.get() if simple else 0.0
    metric._metric_init()
    if value:
        metric._value.set(value)
