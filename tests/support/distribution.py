"""The wheel and the source distribution, built once for a test session."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
LEFT_OUT = (".*", "__pycache__", "*.egg-info", "build", "dist", "_build", "*.sqlite3")


def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory with both; the processes of pytest-xdist share it."""
    directory = tmp_path_factory.getbasetemp()
    if directory.name.startswith("popen-"):  # of a process of pytest-xdist
        directory = directory.parent
    built = directory / "distributions"
    with (directory / "distributions.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists():
            source = directory / "source"  # a copy: the build writes into it
            shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(*LEFT_OUT))
            unfinished = directory / "unfinished"
            program = [sys.executable, "-m", "build", "--outdir", str(unfinished), str(source)]
            run = subprocess.run(program, capture_output=True, text=True, check=False)
            assert run.returncode == 0, run.stdout + run.stderr
            shutil.rmtree(source)
            unfinished.rename(built)
    return built
