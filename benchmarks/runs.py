"""The goals of the last full runs: a goal holds if it holds in each of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from .goals import Verdict

_KEPT = 5

#: The measured value of each goal, by its key.
Run = dict[str, float]


def add_run(path: Path, verdicts: Iterable[Verdict]) -> list[Run]:
    """Add a run to the file, and return the runs that it keeps, the oldest first."""
    runs: list[Run] = json.loads(path.read_text()) if path.exists() else []
    values = {each.key: float(f"{each.value:.4g}") for each in verdicts if each.value is not None}
    runs = [*runs, values][-_KEPT:]
    path.write_text(json.dumps(runs, indent=1) + "\n")
    return runs
