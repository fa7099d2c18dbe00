"""
The private directory of one supervisor's values.

It is removed when the supervisor ends. The next supervisor removes the directory of a killed one:
its processes held a lock on the directory, and died with it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

_PREFIX = "django-gearman-metrics-"


class Directory:
    """The directory; `path` continues that of the previous program, after a reload."""

    def __init__(self, path: str | None = None) -> None:
        if path is None:
            remove_leftovers()
            path = tempfile.mkdtemp(prefix=_PREFIX)
        self.path = path
        self._lock = _open(path)
        fcntl.flock(self._lock, fcntl.LOCK_SH)

    def close(self) -> None:
        """Remove it, and all that is in it."""
        os.close(self._lock)
        shutil.rmtree(self.path, ignore_errors=True)


def remove_leftovers() -> None:
    """Remove the directories of this user's supervisors that were killed."""
    for found in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):  # another one removes it, or a process of its supervisor lives
            if found.is_symlink() or found.stat().st_uid != os.getuid():
                continue
            lock = _open(found)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(found, ignore_errors=True)
            finally:
                os.close(lock)


def _open(path: str | Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
