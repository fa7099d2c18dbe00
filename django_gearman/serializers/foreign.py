"""
The error of a job that failed on a worker in another language.

The worker sends bytes of any kind. They are shown as text in the message of an exception, and in
logs.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..exceptions import JobFailed, JobRaised
from ..utils.text import printable

_LONGEST = 20_000  # characters
_UNTOLD = "its worker gave no reason"
# Perl's Storable format, in which the text of a Perl error arrives: version, type, length, text.
_STORABLE = b"\x04", b"\x05"  # in the machine's byte order, and in network order
_SHORT = b"\x0a\x17"  # types with a length of one byte: bytes, and UTF-8
_LONG = b"\x01\x18"  # types with a length of four bytes


def text_of(answer: bytes | str) -> str:
    """Return the text of a worker without control characters; cut a very long one."""
    if isinstance(answer, bytes):
        answer = _thawed(answer.rstrip(b"\0")).decode(errors="replace")
    cut = answer.strip()[:_LONGEST]
    return "\n".join(printable(line) for line in cut.split("\n"))


def failure(job: str, raised: Mapping[str, str] | None, reason: str) -> JobFailed:
    """Return the error of a failed job, with the reason that its worker has sent."""
    if raised:
        return JobRaised(job, **raised)
    return JobFailed(f"{job} failed: {reason}" if reason else f"{job} failed; {_UNTOLD}")


def _thawed(data: bytes) -> bytes:
    """Return the text of a frozen Perl value; return other bytes unchanged."""
    if data[:1] not in _STORABLE:
        return data
    for start in (
        2,
        7 + sum(data[2:3]),
    ):  # then the sizes of types come next
        for kinds, size in ((_SHORT, 1), (_LONG, 4)):
            kind, length = data[start : start + 1], data[start + 1 : start + 1 + size]
            text = data[start + 1 + size :]
            lengths = int.from_bytes(length, "big"), int.from_bytes(length, "little")
            if kind and kind in kinds and len(text) in lengths:
                return text
    return data
