"""Numbers that callers and settings give, checked in one place."""

from __future__ import annotations

import math
from typing import Any

from .text import quoted


def check_number(value: object, rule: str, kinds: Any = (int, float)) -> None:
    """Raise TypeError, with the rule, for a value that is not a number, or is True or False."""
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise TypeError(f"{rule}, not {quoted(value)}")


def check_seconds(value: Any, name: str) -> float:
    """Return a finite number of seconds above 0; TypeError or ValueError for anything else."""
    rule = f"{name} is a number of seconds above 0"
    check_number(value, rule)
    try:
        seconds = float(value)
    except OverflowError:
        seconds = math.inf
    if not 0 < seconds < math.inf:
        raise ValueError(f"{rule}, not {quoted(value)}")
    return seconds
