"""Tests that `make soak` itself works; its findings need a whole run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.gearmand]


def test_a_quick_scenario_passes():
    run = subprocess.run(
        [sys.executable, "-m", "soak", "--quick", "stops"],
        cwd=Path(__file__).parent.parent.parent,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert run.returncode == 0, run.stdout + run.stderr
    assert "1 of 1 scenarios passed" in run.stdout
