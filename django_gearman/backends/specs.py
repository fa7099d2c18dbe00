"""The checks of specs before their jobs are sent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from types import NoneType
from typing import Any

from ..protocol.messages import JobSpec, Priority, SpecBatch
from ..protocol.names import MAX_FUNCTION_BYTES

#: Largest workload, in bytes: a packet's size has 32 bits, of which 8 kB are left for the names.
MAX_WORKLOAD_BYTES = 2**32 - 1 - 8192

_USUAL = (str, bytes, str, Priority, bool, NoneType, bool)  # the usual types of a spec
_KINDS: dict[str, tuple[Any, str]] = {
    "function": (str, "a string"),
    "workload": (bytes, "bytes"),
    "unique": (str, "a string"),
    "priority": (Priority, "a Priority"),
    "background": (bool, "True or False"),
    "run_at": ((int, float, NoneType), "a number of seconds since the epoch, or None"),
    "external": (bool, "True or False"),
}


def check_specs(specs: Sequence[JobSpec]) -> None:
    """Raise TypeError or ValueError for a spec that cannot be sent, before anything is sent."""
    if type(specs) is not list and not isinstance(specs, Sequence):  # this check is slow
        raise TypeError(f"jobs to submit are a list of JobSpecs, not {specs!r:.100}")
    checked = ""
    for spec in specs:
        if type(spec) is not JobSpec:
            raise TypeError(f"a job to submit is a JobSpec, not {spec!r:.100}")
        if (*map(type, spec),) != _USUAL or len(spec.workload) > MAX_WORKLOAD_BYTES:
            _check_spec(spec)
        if spec.function is not checked or not checked:
            checked = spec.function
            _check_function(checked)


def check_batch(specs: SpecBatch) -> None:
    """Do what `check_specs` does, at once for all specs of a batch."""
    if not {*map(type, specs.workloads)} <= {bytes}:
        raise TypeError("the workloads of a batch are bytes")
    if max(map(len, specs.workloads), default=0) > MAX_WORKLOAD_BYTES:
        for spec in specs:
            _check_spec(spec)
    _check_function(specs.function)


@lru_cache(maxsize=1024)
def _check_function(name: str) -> None:
    if not 0 < len(name.encode(errors="surrogateescape")) <= MAX_FUNCTION_BYTES:
        raise ValueError(
            f"a function's name has 1 to {MAX_FUNCTION_BYTES} bytes, not {name!r:.100}"
        )
    if "\0" in name:
        raise ValueError(f"a NUL byte in the function name {name!r}")


def _check_spec(spec: JobSpec) -> None:
    for name, (kinds, what) in _KINDS.items():
        value = getattr(spec, name)
        if not isinstance(value, kinds):
            raise TypeError(f"the {name} of a job is {what}, not {value!r:.100}")
    if len(spec.workload) > MAX_WORKLOAD_BYTES:
        raise ValueError(
            f"a job of function {spec.function!r} has a workload of {len(spec.workload)} bytes; "
            f"a Gearman packet takes {MAX_WORKLOAD_BYTES}"
        )
    if spec.run_at is None:
        return
    if not spec.background:
        raise ValueError("a delayed job is a background job: Gearman has no other")
    try:
        is_time = not math.isnan(spec.run_at)
    except OverflowError:
        is_time = False
    if not is_time:
        raise ValueError("run_at is a number of seconds since the epoch, and not NaN or so far off")
