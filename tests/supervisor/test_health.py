from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from django_gearman.supervisor import Status
from django_gearman.supervisor.health import Health, check_health_file


@pytest.fixture
def systemd(tmp_path, monkeypatch):
    """Return a function that reads the messages to systemd."""
    path = str(tmp_path / "notify")
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    channel.bind(path)
    channel.setblocking(False)
    monkeypatch.setenv("NOTIFY_SOCKET", path)

    def read() -> list[str]:
        messages = []
        while True:
            try:
                messages += channel.recv(4096).decode().splitlines()
            except BlockingIOError:
                return messages

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


def test_a_file_that_cannot_be_touched_is_reported(tmp_path, caplog):
    Health(tmp_path / "no" / "such" / "health")(Status(1, 1, False))

    assert "--health-file" in caplog.text


def test_systemd_hears_when_all_serve_for_the_first_time(systemd):
    health = Health(None)

    health(Status(2, 1, False))
    assert systemd() == ["STATUS=1 of 2 processes are serving"]
    health(Status(2, 2, False))
    assert systemd() == ["STATUS=2 processes are serving", "READY=1"]
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
def test_without_systemd_nothing_is_reported(monkeypatch, address):
    monkeypatch.setenv("NOTIFY_SOCKET", address)

    Health(None)(Status(1, 1, False))


# Which file


def test_a_file_that_is_not_there_or_empty_may_be_touched(tmp_path):
    check_health_file(tmp_path / "health")
    (tmp_path / "health").touch()
    check_health_file(tmp_path / "health")


def make_link(path):
    path.with_name("target").touch()
    path.symlink_to(path.with_name("target"))


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


FILES = {
    "it has 7 bytes": lambda path: path.write_text("precious"[:7]),
    "it is a symbolic link": make_link,
    "symbolic link": lambda path: path.symlink_to("nowhere"),
    "it is a directory": lambda path: path.mkdir(),
    "it is a named pipe": lambda path: os.mkfifo(path),
    "it is a socket": make_socket,
}


@pytest.mark.parametrize("message", FILES)
def test_a_health_file_that_is_another_kind_of_file_is_refused_and_left_alone(tmp_path, message):
    path = tmp_path / "health"
    FILES[message](path)
    before = path.lstat()

    with pytest.raises(ValueError, match=rf"--health-file .*health: .*{message}.*\. Name a file"):
        check_health_file(path)

    health = Health(path)  # had it come meanwhile
    if message != "it has 7 bytes":
        health(Status(1, 1, False))
    health.forget()
    after = path.lstat()
    assert (after.st_ino, after.st_size, after.st_mtime) == (
        before.st_ino,
        before.st_size,
        before.st_mtime,
    )


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/dev/null", "it is a device"),
        ("/no/such/directory/health", "its directory does not exist, or cannot be written to"),
        ("/proc/version/health", "Not a directory"),
        ("", "it is a directory"),
        ("x" * 300, "File name too long"),
    ],
)
def test_paths_that_cannot_be_are_refused(path, message):
    with pytest.raises(ValueError, match=message):
        check_health_file(Path(path))


def test_a_symbolic_link_is_not_followed(tmp_path, caplog):
    target = tmp_path / "target"
    (tmp_path / "health").symlink_to(target)

    Health(tmp_path / "health")(Status(1, 1, False))

    assert not target.exists()
    assert "--health-file" in caplog.text


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_disk_without_room_is_reported_once(tmp_path, caplog, monkeypatch, number):
    def fail(*args: object) -> int:
        raise OSError(number, os.strerror(number))

    health = Health(tmp_path / "health")
    monkeypatch.setattr(os, "open", fail)
    health(Status(1, 1, False))
    health._touched_at = 0.0
    health(Status(1, 1, False))

    assert caplog.text.count(os.strerror(number)) == 1
