"""
Background jobs for Django on Gearman, which can be tested without a server.

Public names are imported at their first use. The pytest plugin is loaded in every session of a
project that installs the package; it must not import Django.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .client.client import GearmanClient
    from .client.described import (
        JOB_COMPLETE,
        JOB_CREATED,
        JOB_FAILED,
        JOB_PENDING,
        JOB_UNKNOWN,
    )
    from .client.job import Job
    from .client.request import JobRequest
    from .decorators import gearman_job
    from .jobs.context import JobContext, current_job
    from .jobs.keeping import CancelAnswer
    from .jobs.options import PRIORITY_HIGH, PRIORITY_LOW, PRIORITY_NONE
    from .jobs.retries import RetryJob, exponential
    from .worker.worker import GearmanWorker

__version__ = "1.0.0"

__all__ = [
    "JOB_COMPLETE",
    "JOB_CREATED",
    "JOB_FAILED",
    "JOB_PENDING",
    "JOB_UNKNOWN",
    "PRIORITY_HIGH",
    "PRIORITY_LOW",
    "PRIORITY_NONE",
    "CancelAnswer",
    "GearmanClient",
    "GearmanWorker",
    "Job",
    "JobContext",
    "JobRequest",
    "RetryJob",
    "current_job",
    "exponential",
    "gearman_job",
]

_MODULES = {
    "client.client": ["GearmanClient"],
    "client.job": ["Job"],
    "decorators": ["gearman_job"],
    "jobs.context": ["JobContext", "current_job"],
    "jobs.keeping": ["CancelAnswer"],
    "jobs.options": ["PRIORITY_HIGH", "PRIORITY_LOW", "PRIORITY_NONE"],
    "client.described": [
        "JOB_COMPLETE",
        "JOB_CREATED",
        "JOB_FAILED",
        "JOB_PENDING",
        "JOB_UNKNOWN",
    ],
    "client.request": ["JobRequest"],
    "jobs.retries": ["RetryJob", "exponential"],
    "worker.worker": ["GearmanWorker"],
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f".{module}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
