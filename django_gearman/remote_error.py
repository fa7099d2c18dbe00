"""
How a worker tells its client which exception a job raised.

As JSON in a WORK_WARNING before the WORK_FAIL: clients in every language survive that, whereas a
WORK_EXCEPTION makes some hang.
"""

from __future__ import annotations

import json
import traceback

_START = b'{"__gearman__":"error",'  # no warning of a job begins so: such keys are escaped


def dump_error(error: BaseException) -> bytes:
    """Write an exception for the client that waits for the job."""
    kind, name = type(error), type(error).__qualname__
    told = {
        "type": name if kind.__module__ == "builtins" else f"{kind.__module__}.{name}",
        "message": _text_of(error),
        "traceback": "".join(traceback.format_exception(error)),
    }
    return _START + b'"value":' + json.dumps(told).encode() + b"}"


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as broken:  # noqa: BLE001 - its __str__ is the user's
        return f"<its text cannot be had: {broken!r}>"


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
