"""
Tests of jobs and their routing without a job server.

With pytest, install the package and use the fixtures `gearman_client`, `gearman_worker` and
`gearman_server`. Without pytest, use `GearmanTestMixin`, `override_gearman` and `capture_jobs`.

Names are imported at their first use, because every pytest session imports this.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cases import CapturedJobs, GearmanTestMixin, capture_jobs, override_gearman
    from .client import ManualWorker, RecordingClient, perform_job
    from .gearmand import GearmanServer
    from .isolation import JobServerForbidden
    from .outbox import SubmittedJob
    from .programs import GearmandNotInstalled
    from .waiting import NotServed

__all__ = [
    "CapturedJobs",
    "GearmanServer",
    "GearmanTestMixin",
    "GearmandNotInstalled",
    "JobServerForbidden",
    "ManualWorker",
    "NotServed",
    "RecordingClient",
    "SubmittedJob",
    "capture_jobs",
    "override_gearman",
    "perform_job",
]

_MODULES = {
    "cases": ["CapturedJobs", "GearmanTestMixin", "capture_jobs", "override_gearman"],
    "client": ["ManualWorker", "RecordingClient", "perform_job"],
    "isolation": ["JobServerForbidden"],
    "outbox": ["SubmittedJob"],
    "gearmand": ["GearmanServer"],
    "programs": ["GearmandNotInstalled"],
    "waiting": ["NotServed"],
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f".{module}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
