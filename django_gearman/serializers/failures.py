"""
The report of a job's exception from the worker to its client.

It is JSON in a WORK_WARNING before the WORK_FAIL. Clients in every language handle that, but some
hang after a WORK_EXCEPTION.
"""

from __future__ import annotations

import json

from ..utils.records import format_error
from ..utils.text import described, kind_of

_START = b'{"__gearman__":"error",'  # no other warning starts like this: such keys are escaped
# Characters of an error that are sent.
_MOST_MESSAGE = 20_000
_MOST_TRACEBACK = 100_000


def dump_error(error: BaseException, *, with_traceback: bool = True) -> bytes:
    """Convert an exception to bytes for the client of the job; never raise."""
    return dump_report(
        kind_of(error, dotted=True),
        cut(described(str, error), _MOST_MESSAGE),
        cut(format_error(error)[0], _MOST_TRACEBACK) if with_traceback else "",
    )


def dump_report(kind: str, message: str, traceback: str) -> bytes:
    """Convert the parts of an exception to bytes for the client of the job."""
    report = {"type": kind, "message": message, "traceback": traceback}
    return _START + b'"value":' + json.dumps(report).encode() + b"}"


def cut(text: str, most: int) -> str:
    """Cut the middle out of a very long text."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]}\n... ({len(text)} characters)\n{text[-half:]}"


def parse_error(data: bytes) -> dict[str, str] | None:
    """Return the arguments of JobRaised from the bytes of `dump_error`; None for other bytes."""
    if not data.startswith(_START):
        return None
    try:
        report = json.loads(data)["value"]
        return {
            "exception_type": str(report["type"]),
            "message": str(report["message"]),
            "traceback": str(report["traceback"]),
        }
    except (ValueError, LookupError, TypeError):
        return None
