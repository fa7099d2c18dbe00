"""Control of the workers: each `gearman_worker` answers commands over a private function."""

from ..counters import StoreErrors
from .asking import list_supervisors, reload, stack
from .pausing import pause, paused, resume
from .values import Answers, ControlError, ProcessInfo, RunningJob, SupervisorInfo

__all__ = [
    "Answers",
    "ControlError",
    "ProcessInfo",
    "RunningJob",
    "StoreErrors",
    "SupervisorInfo",
    "list_supervisors",
    "pause",
    "paused",
    "reload",
    "resume",
    "stack",
]
