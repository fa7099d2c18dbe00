"""GearmanJob, a submitted job as python-gearman describes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass
class GearmanJob:
    """What was submitted: `data` is the call, as a dict with the keys "args" and "kwargs"."""

    task: str
    unique: str
    data: dict[str, Any]
    handle: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {
            "task": self.task,
            "job_handle": self.handle,
            "unique": self.unique,
            "data": self.data,
        }
