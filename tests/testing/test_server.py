"""A private gearmand."""

from __future__ import annotations

import pytest

from django_gearman.backends.base import JobSpec
from django_gearman.backends.gearmand import GearmandBackend
from django_gearman.connection import Server
from django_gearman.testing import GearmandNotInstalled, GearmanServer
from django_gearman.testing import server as module


def backend_at(server: GearmanServer) -> GearmandBackend:
    return GearmandBackend([Server.parse(server.address)], connect_timeout=1.0)


@pytest.mark.gearmand
def test_it_runs_empty_until_the_block_ends():
    with GearmanServer("--verbose=INFO") as server:
        assert backend_at(server).functions() == []
        process = server.process

    assert process.poll() is not None


@pytest.mark.gearmand
def test_it_is_reset_only_when_something_is_left():
    with GearmanServer() as server:
        first = server.process
        server.reset()
        assert server.process is first

        backend_at(server).submit([JobSpec("f", b"x", background=True)])
        server.reset()
        assert server.process is not first
        assert backend_at(server).functions() == []

        server.kill()
        server.reset()
        assert backend_at(server).functions() == []


@pytest.mark.gearmand
def test_one_that_does_not_start_tells_its_log():
    with pytest.raises(RuntimeError, match=r"does not start at 127.*no-such-option"):
        GearmanServer("--no-such-option")


def test_where_it_is_not_installed_it_says_how_to(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(module, "_PLACES", "")

    with pytest.raises(GearmandNotInstalled, match="apt-get install gearman-job-server"):
        GearmanServer()
