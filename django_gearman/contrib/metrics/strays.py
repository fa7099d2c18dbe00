"""
The files of strays: processes that a job has forked, or programs that it has started.

Both write their metrics to the directory, too, in files named after their process ids. They may be many,
and each costs every scrape some time. So the counts of those that have ended are moved to one file.
"""

from __future__ import annotations

import os
from pathlib import Path

from prometheus_client.mmap_dict import MmapedDict

_DONE = "strays"  # in the place of a process id
_KEPT = ("counter", "histogram", "summary")


def fold_strays(directory: str) -> None:
    """
    Move the counts of strays that have ended to one file; their gauges are dropped.

    One process may do this at a time. If it is killed meanwhile, one stray may be counted twice.
    """
    for path in [*Path(directory).glob("*.db")]:
        kind, _, rest = path.stem.partition("_")
        process = rest.rpartition("_")[2]
        if process.isdigit() and not _lives(int(process)):
            if kind in _KEPT and path.stat().st_size:
                _move(path, path.with_name(f"{kind}_{_DONE}.db"))
            path.unlink()


def _move(source: Path, target: Path) -> None:
    sums = MmapedDict(str(target))  # type: ignore[no-untyped-call]
    found = MmapedDict.read_all_values_from_file(str(source))  # type: ignore[no-untyped-call]
    for key, value, _, _ in found:
        sums.write_value(key, sums.read_value(key)[0] + value, 0.0)  # type: ignore[no-untyped-call]
    sums.close()  # type: ignore[no-untyped-call]


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user, so the number is used again
        return True
    return True
