"""The packets of a worker's reports."""

from __future__ import annotations

from ...protocol.packets import PacketType, encode, frame
from ..base import (
    Update,
    WorkComplete,
    WorkData,
    WorkException,
    WorkFail,
    WorkStatus,
    WorkWarning,
)


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
