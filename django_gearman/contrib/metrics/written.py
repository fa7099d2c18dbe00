"""
Counters and histograms that are written straight to the shared files.

Those of prometheus_client check their arguments, the process and a lock at each step, which for the
five values of a job takes longer than all the rest. A process has one file for all of them, in its
format, beside those of the project's metrics. Histograms are in it as plain numbers, not added up.
"""

from __future__ import annotations

import math
import os
import struct
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from prometheus_client import Metric
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.utils import floatToGoString

_number = struct.Struct("d")
_SIZE = 1 << 16  # of a new file, in bytes; prometheus_client doubles it when it is full
_LARGEST = 64  # bytes of a value beside its key, at most

#: Adds an amount to one value.
Add: TypeAlias = Callable[[float], None]


def _value(file: MmapedDict, metric: str, name: str, about: str, labels: Mapping[str, str]) -> Add:
    """Return the function for one value in a file; it starts from the number in the file."""
    key: str = mmap_key(metric, name, [*labels], [*labels.values()], about)
    if file._used + len(key.encode()) + _LARGEST > file._capacity:
        _reserve(file._f.fileno(), 2 * file._capacity)
    number: float = file.read_value(key)[0]  # type: ignore[no-untyped-call]
    place: int = file._positions[key]
    memory, end, pack = file._m, place + _number.size, _number.pack  # a larger file keeps its start

    def add(amount: float) -> None:
        nonlocal number
        number += amount
        memory[place:end] = pack(number)

    return add


def _histogram(
    file: MmapedDict, metric: str, about: str, labels: Mapping[str, str], bounds: Sequence[float]
) -> Add:
    """Return the function that observes a value in a histogram with these upper bounds."""
    limits = [*bounds, math.inf]
    add = _value(file, metric, f"{metric}_sum", about, labels)
    buckets = [
        _value(file, metric, f"{metric}_bucket", about, {**labels, "le": _text(limit)})
        for limit in limits
    ]

    def observe(amount: float) -> None:
        add(amount)
        buckets[bisect_left(limits, amount)](1)

    return observe


class Written:
    """The file of one process, for one thread at a time. No other running process has it."""

    def __init__(self, directory: str, process: str) -> None:
        path = os.path.join(directory, f"counter_jobs_{process}.db")
        with open(path, "ab") as file:
            _reserve(file.fileno(), _SIZE)
        self._file = MmapedDict(path)  # type: ignore[no-untyped-call]
        # There is one function for each value, as it knows the present number.
        self._made: dict[tuple[str, ...], Add] = {}

    def counter(self, name: str, about: str, **labels: str) -> Add:
        """Return the function for a counter, whose name ends in "_total"."""
        key = name, *labels.values()
        if (found := self._made.get(key)) is None:
            metric = name.removesuffix("_total")
            found = self._made[key] = _value(self._file, metric, name, about, labels)
        return found

    def histogram(self, name: str, about: str, bounds: Sequence[float], **labels: str) -> Add:
        """Return the function that observes a value in a histogram with these upper bounds."""
        key = name, *labels.values()
        if (found := self._made.get(key)) is None:
            found = self._made[key] = _histogram(self._file, name, about, labels, bounds)
        return found

    def close(self) -> None:
        """Close the file in this process."""
        self._file.close()  # type: ignore[no-untyped-call]


def _reserve(descriptor: int, size: int) -> None:
    """
    Give a file its room on the disk now, or raise OSError.

    A write to mapped memory without room behind it would kill the process by SIGBUS.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)


def _text(bound: float) -> str:
    text: str = floatToGoString(bound)  # type: ignore[no-untyped-call]
    return text


def add_up(metric: Metric) -> None:
    """Make a histogram of its plain numbers, which were merged from the files of all processes."""
    metric.type = "histogram"
    buckets: dict[tuple[tuple[str, str], ...], dict[str, float]] = {}
    sums: dict[tuple[tuple[str, str], ...], float] = {}
    for sample in metric.samples:
        labels = dict(sample.labels)
        limit = labels.pop("le", None)
        key = tuple(labels.items())
        if limit is None:
            sums[key] = sample.value
        else:
            buckets.setdefault(key, {})[limit] = sample.value
    metric.samples = []
    for key, numbers in buckets.items():
        total = 0.0
        for limit in sorted(numbers, key=float):
            total += numbers[limit]
            metric.add_sample(f"{metric.name}_bucket", {**dict(key), "le": limit}, total)
        metric.add_sample(f"{metric.name}_count", dict(key), total)
        metric.add_sample(f"{metric.name}_sum", dict(key), sums.get(key, 0.0))
