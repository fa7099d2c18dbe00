"""Jobs as the packets that submit them."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from ...protocol.names import BACKGROUND, FOREGROUND, delayed_function, wire_unique
from ...protocol.packets import PacketType, frame, frames, to_bytes
from ..base import JobSpec, Priority, SpecBatch

_SUBMIT = {
    (Priority.NORMAL, False): PacketType.SUBMIT_JOB,
    (Priority.NORMAL, True): PacketType.SUBMIT_JOB_BG,
    (Priority.HIGH, False): PacketType.SUBMIT_JOB_HIGH,
    (Priority.HIGH, True): PacketType.SUBMIT_JOB_HIGH_BG,
    (Priority.LOW, False): PacketType.SUBMIT_JOB_LOW,
    (Priority.LOW, True): PacketType.SUBMIT_JOB_LOW_BG,
}
_LATEST = 2.0**62  # upper limit of gearmand's times


_ENDS = [b"%02x\0" % number for number in range(256)]  # of generated uniques


def encode_jobs(specs: Sequence[JobSpec]) -> list[bytes]:
    """Return the bytes that submit jobs, in parts."""
    if type(specs) is not SpecBatch:
        return [part for spec in specs for part in encode_job(spec)]
    kind = _SUBMIT[Priority.NORMAL, specs.background]
    prefix = BACKGROUND if specs.background else FOREGROUND
    start = b"%b\0%b" % (to_bytes(specs.function), prefix)
    parts: list[bytes] = []
    done = 0
    while done < len(specs):  # each time, the jobs whose uniques differ in the last byte only
        others, number = divmod(specs.first + done, 256)
        workloads = specs.workloads[done : done + 256 - number]
        ends = _ENDS[number : number + len(workloads)]
        parts += frames(kind, b"%b%030x" % (start, others), ends, workloads)
        done += len(workloads)
    return parts


def encode_job(spec: JobSpec) -> tuple[bytes, bytes]:
    """Return the bytes that submit a job."""
    function, workload, _, priority, background, run_at, external = spec
    unique = wire_unique(spec)
    if run_at is None or run_at <= time.time():
        start = b"%b\0%b\0" % (to_bytes(function), unique)
        return frame(_SUBMIT[priority, background], start, workload)
    when = math.ceil(min(max(run_at, 0.0), _LATEST))
    queue = function if external else delayed_function(function)
    start = b"%b\0%b\0%d\0" % (to_bytes(queue), unique, when)
    return frame(PacketType.SUBMIT_JOB_EPOCH, start, workload)
