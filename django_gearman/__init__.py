"""Background jobs for Django on Gearman, which can be tested without a server."""

from .client import GearmanClient
from .decorators import gearman_job
from .jobs import JobContext, RetryJob
from .options import PRIORITY_HIGH, PRIORITY_LOW, PRIORITY_NONE
from .request import (
    JOB_COMPLETE,
    JOB_CREATED,
    JOB_FAILED,
    JOB_PENDING,
    JOB_UNKNOWN,
    JobRequest,
)
from .worker import GearmanWorker

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
    "GearmanClient",
    "GearmanWorker",
    "JobContext",
    "JobRequest",
    "RetryJob",
    "gearman_job",
]
