"""Questions to supervisors where there are none, or where they hang."""

from __future__ import annotations

import time

import pytest

from django_gearman.contrib.store import control
from django_gearman.testing.gearmand import free_port
from tests.support.fake_server import FakeServer


@pytest.mark.parametrize("backend", ["memory", "eager"])
def test_without_a_job_server_the_answer_says_so(settings, production, backend):
    settings.GEARMAN_BACKEND = backend

    found = control.list_supervisors()

    [problem] = found.problems
    assert found.supervisors == ()
    assert f"GEARMAN_BACKEND is '{backend}'" in problem
    assert "no supervisor to ask" in problem
    with pytest.raises(control.ControlError, match="no supervisor to ask"):
        control.stack("app:1", 1)
    with pytest.raises(control.ControlError, match="no supervisor to ask"):
        control.reload("app:1")


def test_each_server_that_is_down_or_hangs_is_named_and_costs_the_timeout_once(
    settings, production
):
    down = f"127.0.0.1:{free_port()}"
    with (
        FakeServer(lambda peer: peer.wait_for_end()) as silent,
        FakeServer(lambda peer: peer.wait_for_end()) as other,
    ):
        settings.GEARMAN_BACKEND = "gearman"
        settings.GEARMAN_SERVERS = [silent.address, down, other.address]
        began = time.monotonic()

        found = control.list_supervisors(0.5)

        took = time.monotonic() - began
    assert found.supervisors == ()
    assert len(found.problems) == 3
    for address in (silent.address, down, other.address):
        assert sum(address in problem for problem in found.problems) == 1
    assert took < 3, "one timeout for all, on a busy machine"


@pytest.mark.parametrize("timeout", [0, -1, "1", None, float("nan"), float("inf"), True])
def test_a_timeout_is_a_number_of_seconds(settings, production, timeout):
    settings.GEARMAN_BACKEND = "gearman"

    with pytest.raises((TypeError, ValueError), match="timeout"):
        control.list_supervisors(timeout)
