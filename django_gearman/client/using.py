"""`using()`, the method of jobs and clients that sets the options of a submission."""

from __future__ import annotations

import copy
import datetime
from typing import Any, Literal, Never, Self

from ..jobs.options import Options, PriorityName, with_new_names
from ..serializers import Serializer


class HasOptions:
    """A job or a client, with the options of its submissions."""

    options: Options

    def using(
        self,
        *,
        priority: PriorityName | None = None,
        unique: str | bool | None = None,
        wait: float | None = None,
        run_after: datetime.datetime | datetime.timedelta | None = None,
        on_commit: bool | str | None = None,
        on_commit_failure: Literal["log", "raise"] | None = None,
        serializer: str | Serializer | None = None,
        resubmit: int | None = None,
        **others: Never,
    ) -> Self:
        """
        Return a copy that submits with these `Options`; None leaves an option as it is.

        Raises TypeError for an unknown option, and TypeError or ValueError for an invalid value. An
        option without effect on a call raises ValueError at the call.
        """
        changes: dict[str, Any] = {
            "priority": priority,
            "unique": unique,
            "wait": wait,
            "run_after": run_after,
            "on_commit": on_commit,
            "on_commit_failure": on_commit_failure,
            "serializer": serializer,
            "resubmit": resubmit,
        }
        if others:
            given = {name: value for name, value in changes.items() if value is not None}
            changes = with_new_names({**given, **others}, stacklevel=2)
        changed = copy.copy(self)
        changed.options = self.options.updated(**changes)
        return changed
