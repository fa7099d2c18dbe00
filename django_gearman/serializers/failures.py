"""
How a worker tells its client which exception a job raised.

As JSON in a WORK_WARNING before the WORK_FAIL: clients in every language survive that, whereas a
WORK_EXCEPTION makes some hang.
"""

from __future__ import annotations

import json

from ..utils.records import format_error
from ..utils.text import described, kind_of

_START = b'{"__gearman__":"error",'  # no warning of a job begins so: such keys are escaped
# Characters of an error that travel.
_MOST_MESSAGE = 20_000
_MOST_TRACEBACK = 100_000


def dump_error(error: BaseException, *, with_traceback: bool = True) -> bytes:
    """Write an exception for the client that waits for the job, whatever it does when it is asked."""
    told = {
        "type": kind_of(error, dotted=True),
        "message": _cut(described(str, error), _MOST_MESSAGE),
        "traceback": _cut(format_error(error)[0], _MOST_TRACEBACK) if with_traceback else "",
    }
    return _START + b'"value":' + json.dumps(told).encode() + b"}"


def _cut(text: str, most: int) -> str:
    """Leave out the middle of a text that is very long."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]}\n... ({len(text)} characters)\n{text[-half:]}"


def read_error(data: bytes) -> dict[str, str] | None:
    """Return JobRaised's arguments from what `dump_error` wrote; None for anything else."""
    if not data.startswith(_START):
        return None
    try:
        told = json.loads(data)["value"]
        return {
            "exception_type": str(told["type"]),
            "message": str(told["message"]),
            "traceback": str(told["traceback"]),
        }
    except (ValueError, LookupError, TypeError):
        return None
