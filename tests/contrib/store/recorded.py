"""Records for tests, as workers would have written them."""

from __future__ import annotations

import datetime
import hashlib
import itertools
from typing import Any

from django.utils import timezone

from django_gearman.contrib.store.models import JobRecord

_numbers = itertools.count(1)

TRACEBACK = """\
Traceback (most recent call last):
  File "/srv/venv/lib/python3.12/site-packages/requests/api.py", line 59, in get
    return request("get", url)
  File "/srv/shop/jobs.py", line 12, in {function}
    raise {exception}({message!r})
{exception}: {message}
"""


def failed(
    name: str = "shop.pay",
    exception: str = "ValueError",
    message: str = "no",
    *,
    ago: float = 60.0,
    function: str = "pay",
    **columns: Any,
) -> JobRecord:
    """Write the record of a job that failed `ago` seconds ago."""
    ended = timezone.now() - datetime.timedelta(seconds=ago)
    mark = hashlib.blake2b(f"{name} {exception} {function}".encode(), digest_size=8)
    text = TRACEBACK.format(function=function, exception=exception, message=message)
    error = {
        "exception": exception,
        "message": message,
        "traceback": text,
        "attempt": 1,
        "at": ended.isoformat(),
        "worker": "host/1",
    }
    values = {
        "status": JobRecord.Status.FAILED,
        "exception": exception,
        "fingerprint": mark.hexdigest(),
        "errors": [error],
        "finished_at": ended,
        "started_at": ended,
        "last_attempted_at": ended,
    }
    return recorded(name, ago=ago, **{**values, **columns})


def recorded(name: str = "shop.pay", *, ago: float = 60.0, **columns: Any) -> JobRecord:
    """Write a record of a job; by default it waits, since `ago` seconds."""
    values = {
        "id": f"{next(_numbers):032x}",
        "function": name,
        "queue": "default",
        "call": '{"args": [1], "kwargs": {}}',
        "workload": b'{"args": [1]}',
        "attempts": 1,
        "enqueued_at": timezone.now() - datetime.timedelta(seconds=ago),
        "expires_at": timezone.now() + datetime.timedelta(days=1),
    }
    return JobRecord.objects.create(name=name, **{**values, **columns})
