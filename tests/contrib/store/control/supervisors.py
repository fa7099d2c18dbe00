"""A supervisor, as it answers."""

from __future__ import annotations

from django_gearman.contrib.store.control import (
    ProcessInfo,
    RunningJob,
    StoreErrors,
    SupervisorInfo,
)


def supervisor(errors: StoreErrors | None = None, name: str = "app-1:4711") -> SupervisorInfo:
    job = RunningJob("1", "shop.mail", "mail", "shop.mail", "H:1", 1.5)
    process = ProcessInfo(4712, "worker 1", "running", 60.0, (job,), 12, 1)
    host, _, pid = name.partition(":")
    return SupervisorInfo(
        name, host, int(pid), ("mail",), "1.1", 60.0, 50.0, (process,), store_errors=errors
    )
