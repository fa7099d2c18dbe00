"""Run a test of the testing package on several transports."""

from __future__ import annotations

import pytest

REAL = pytest.param("real", marks=[pytest.mark.gearman("real"), pytest.mark.gearmand])
EAGER = pytest.param("eager", marks=pytest.mark.gearman("eager"))
MEMORY = pytest.param("memory", marks=pytest.mark.gearman("memory"))

on_each_transport = pytest.mark.parametrize("transport", [EAGER, MEMORY, REAL])
on_queueing_transports = pytest.mark.parametrize("transport", [MEMORY, REAL])
