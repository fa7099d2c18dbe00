"""Errors of attempts, as records keep them."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import sysconfig
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from django.utils import timezone

from ...exceptions import JobFailed, JobRaised
from ...serializers.failures import cut, dump_report
from ...utils.records import format_error
from ...utils.text import described, kind_of
from .redaction import storable, without

#: The most attempts of a job whose errors are kept.
MAX_ERRORS = 20
_MAX_MESSAGE = 10_000  # characters
_MAX_TRACEBACK = 30_000
_LIBRARY = (
    str(Path(__file__).parents[2]),
    *{sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")},
)
_LIBRARY_FOLDER = re.compile(r"[/\\](?:site-packages|dist-packages|python3\.\d+)[/\\]")


def worker_id() -> str:
    """Return the name of this worker process."""
    return f"{socket.gethostname()}/{os.getpid()}"


def entry_of(
    error: BaseException, attempt: int, secrets: Sequence[str], seconds: float | None = None
) -> dict[str, Any]:
    """
    Return the entry of `JobRecord.errors` for the exception of an attempt.

    `seconds` is how long the attempt ran, None if it did not.
    """
    return {
        "exception": storable(kind_of(error, dotted=True)),
        "message": cut(without(secrets, storable(described(str, error))), _MAX_MESSAGE),
        "traceback": cut(without(secrets, storable(format_error(error)[0])), _MAX_TRACEBACK),
        "attempt": attempt,
        "at": timezone.now().isoformat(),
        "worker": worker_id(),
        "seconds": None if seconds is None else round(seconds, 6),
    }


def fingerprint_of(name: str, error: BaseException) -> str:
    """
    Return a digest of a job, the class of its exception, and the function that raised it.

    The function is the last one of the project in the traceback. Lines are left out, because each
    release moves them.
    """
    place = _place(error.__traceback__)
    same = "\0".join((name, kind_of(error, dotted=True), *place))
    return hashlib.blake2b(same.encode(errors="replace"), digest_size=8).hexdigest()


def _place(trace: TracebackType | None) -> tuple[str, str]:
    found = "", ""
    for frame, _ in traceback.walk_tb(trace):
        if _is_own(frame):
            found = str(frame.f_globals.get("__name__", "")), frame.f_code.co_qualname
    return found


def _is_own(frame: FrameType) -> bool:
    return not is_library(frame.f_code.co_filename)


def is_library(path: str) -> bool:
    """Return True for the file of a library or of Python itself, here or on another host."""
    return path.startswith((*_LIBRARY, "<frozen ")) or _LIBRARY_FOLDER.search(path) is not None


def failure_of(name: str, handle: str, status: str, errors: Sequence[dict[str, Any]]) -> JobFailed:
    """Return the error of a job that has ended without a result, from its record."""
    subject = f"job {name} ({handle or 'no handle'})"
    if status != "FAILED" or not errors:
        return JobFailed(
            f"{subject} was cancelled" if status == "CANCELLED" else f"{subject} failed"
        )
    last = errors[-1]
    return JobRaised(
        subject,
        exception_type=last["exception"],
        message=last["message"],
        traceback=last["traceback"],
    )


def reason_of(errors: Sequence[dict[str, Any]]) -> bytes:
    """Return the report of the last error for the client of the job."""
    last = errors[-1] if errors else {}
    return dump_report(*(last.get(key, "") for key in ("exception", "message", "traceback")))
