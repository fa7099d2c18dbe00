"""Jobs that leave marks in the file TRAIL."""

from __future__ import annotations

import os
import time
from typing import Any

from django_gearman import gearman_job


def leave(mark: object) -> None:
    trail = os.open(os.environ["TRAIL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(trail, f"{mark}\n".encode())
    os.close(trail)


@gearman_job
def mark(value: Any) -> Any:
    leave(value)
    return value


@gearman_job(queue="slow")
def hold(seconds: float) -> str:
    print("holding", os.getpid(), flush=True)
    leave("begun")
    time.sleep(seconds)
    leave("done")
    return "held"
