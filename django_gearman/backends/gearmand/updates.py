"""The packets of a worker's reports, as the worker sends them and a client receives them."""

from __future__ import annotations

from collections.abc import Callable

from ...protocol.packets import PacketType, encode, frame, to_number
from ..base import (
    Update,
    WorkComplete,
    WorkData,
    WorkException,
    WorkFail,
    WorkStatus,
    WorkWarning,
)

#: A name of its own, since Python 3.11 takes long to find a member of an Enum.
JOB_CREATED = PacketType.JOB_CREATED
#: The update of each packet.
UPDATES: dict[PacketType, Callable[..., Update]] = {
    PacketType.WORK_DATA: WorkData,
    PacketType.WORK_WARNING: WorkWarning,
    PacketType.WORK_STATUS: lambda done, of: WorkStatus(to_number(done), to_number(of)),
    PacketType.WORK_COMPLETE: WorkComplete,
    PacketType.WORK_EXCEPTION: WorkException,
    PacketType.WORK_FAIL: WorkFail,
}


def encode_update(handle: bytes, update: Update) -> tuple[bytes, ...]:
    """Return the packet, in parts, for a worker's report on a job."""
    match update:
        case WorkComplete(data):
            return frame(PacketType.WORK_COMPLETE, handle + b"\0", data)
        case WorkStatus(numerator, denominator):
            numbers = b"%d" % numerator, b"%d" % denominator
            return (encode(PacketType.WORK_STATUS, handle, *numbers),)
        case WorkData(data):
            return frame(PacketType.WORK_DATA, handle + b"\0", data)
        case WorkWarning(data):
            return frame(PacketType.WORK_WARNING, handle + b"\0", data)
        case WorkException(data):
            return frame(PacketType.WORK_EXCEPTION, handle + b"\0", data)
        case WorkFail():
            return (encode(PacketType.WORK_FAIL, handle),)
    raise TypeError(f"{update!r} is not an update of a job")
