from __future__ import annotations

import socket

import pytest

from django_gearman.health import Health
from django_gearman.supervisor import Status


@pytest.fixture
def systemd(tmp_path, monkeypatch):
    """Return what reads what is told to systemd."""
    path = str(tmp_path / "notify")
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    channel.bind(path)
    channel.setblocking(False)
    monkeypatch.setenv("NOTIFY_SOCKET", path)

    def read() -> list[str]:
        told = []
        while True:
            try:
                told += channel.recv(4096).decode().splitlines()
            except BlockingIOError:
                return told

    yield read
    channel.close()


def test_the_file_is_touched_while_all_serve_only(tmp_path):
    file = tmp_path / "health"
    health = Health(file)

    health(Status(2, 1, False))
    assert not file.exists()
    health(Status(2, 2, False))
    assert file.exists()
    health.forget()
    assert not file.exists()
    health(Status(2, 2, True))
    assert not file.exists()


def test_a_file_that_cannot_be_touched_is_told_of(tmp_path, caplog):
    Health(tmp_path / "no" / "such" / "health")(Status(1, 1, False))

    assert "--health-file" in caplog.text


def test_systemd_hears_when_all_serve_for_the_first_time(systemd):
    health = Health(None)

    health(Status(2, 1, False))
    assert systemd() == ["STATUS=1 of 2 processes serve"]
    health(Status(2, 2, False))
    assert systemd() == ["STATUS=2 of 2 processes serve", "READY=1"]
    health(Status(2, 1, False))
    health(Status(2, 2, False))
    assert "READY=1" not in systemd()
    health(Status(2, 2, True))
    assert systemd() == ["STOPPING=1", "STATUS=stopping"]


def test_the_watchdog_is_fed_even_while_no_server_is_there(systemd, monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "2")
    health = Health(None)

    health(Status(1, 0, False))
    health(Status(1, 0, False))

    assert systemd().count("WATCHDOG=1") == 2


def test_the_watchdog_of_another_process_is_not_ours(systemd, monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "2")
    monkeypatch.setenv("WATCHDOG_PID", "1")

    Health(None)(Status(1, 0, False))

    assert "WATCHDOG=1" not in systemd()


@pytest.mark.parametrize("address", ["", "no path", "/no/such/socket"])
def test_without_systemd_nothing_is_told(monkeypatch, address):
    monkeypatch.setenv("NOTIFY_SOCKET", address)

    Health(None)(Status(1, 1, False))
