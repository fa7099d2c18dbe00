from __future__ import annotations

from pathlib import Path

import pytest

from django_gearman import GearmanWorker, __version__
from django_gearman.jobserver.serving import Options
from django_gearman.management.banner import (
    Item,
    as_text,
    banner,
    changes,
    duration,
    farewell,
)
from django_gearman.management.tables import width_of
from django_gearman.supervisor import Account, Tally
from django_gearman.testing.gearmand import free_port
from tests.support.fake_server import FakeServer


def show(*queues: list[str] | None, server: Options | None = None, width: int | None = None) -> str:
    workers = [GearmanWorker(each) for each in queues or [None]]
    items = banner(workers, server, logs="stderr", grace_period=30.0)
    return "\n".join(line for line, _ in as_text(items, width))


@pytest.fixture
def servers(settings, production):
    """Use these job servers in place of those of the settings."""

    def use(*addresses: str) -> None:
        settings.GEARMAN_BACKEND, settings.GEARMAN_SERVERS = "gearman", list(addresses)

    use(f"127.0.0.1:{free_port()}")
    return use


def test_the_first_line_has_the_versions_and_the_settings(servers):
    first = show().splitlines()[0]

    assert first.startswith(f"django-gearman {__version__}, Django ")
    assert first.endswith(", settings tests.settings")


@pytest.mark.parametrize(
    ("queues", "lines"),
    [
        ([None], ["1 process serves all queues"]),
        ([None, None], ["2 processes serve all queues"]),
        ([["mail"]], ["1 process serves queue mail only"]),
        (
            [["mail", "default"], ["mail", "default"], ["slow"]],
            [
                "2 processes serve queues mail, default: each of them serves all of these",
                "1 process serves queue slow only",
            ],
        ),
        ([["mail", "default"]], ["1 process serves queues mail, default: it serves all of these"]),
        (
            [["mail", "*"], ["slow"]],
            ["1 process serves all queues", "1 process serves queue slow only"],
        ),
    ],
)
def test_a_worker_tells_how_its_processes_share_the_queues(servers, queues, lines):
    shown = [line[13:] for line in show(*queues).splitlines() if line[13:].count("process")]

    assert shown == lines


@pytest.mark.gearmand
def test_each_server_tells_whether_it_answers(servers, gearmand):
    down = f"127.0.0.1:{free_port()}"
    servers(gearmand.address, down)

    lines = show().splitlines()

    assert lines[1].startswith(f"Job server   {gearmand.address}  up, gearmand ")
    assert lines[2].startswith(f"             {down}  DOWN: ")
    assert lines[2].endswith("Connection refused")


def test_a_server_that_hangs_delays_the_start_for_a_second_only(servers):
    with FakeServer(lambda peer: peer.read()) as server:
        servers(server.address)

        assert f"{server.address}  DOWN: " in show()


def test_a_server_of_the_worker_itself_is_not_asked(servers):
    address = f"127.0.0.1:{free_port()}"
    servers(address)

    shown = show(server=Options(store=Path("jobs.db")))

    assert f"{address}  runs in this worker" in shown
    assert "1 more process is the job server, with background jobs in jobs.db" in shown
    assert "DOWN" not in shown


def test_the_services_of_the_attendant_are_named(servers):
    items = banner([GearmanWorker()], None, ["outbox", "prune"], logs="stderr", grace_period=1)

    assert "1 more process is the attendant: outbox, prune" in [item.text for item in items]


def test_debug_is_a_warning(servers, settings):
    assert "DEBUG" not in show()

    settings.DEBUG = True

    assert "Warning      DEBUG is True: " in show()
    assert "Set DEBUG = False in production." in show()


def test_the_last_line_says_how_to_stop(servers):
    assert show().endswith("Quit with CONTROL-C: running jobs get 30 s to finish.")


@pytest.mark.parametrize("width", [0, 20, 40, 80])
def test_lines_are_wrapped_on_a_terminal(width):
    items = [
        Item("", "a title " * 20),
        Item("Processes", "1 process serves queues größe, 画像 " * 10),
        Item("Processes", "no-space" * 20),
    ]

    lines = [line for line, _ in as_text(items, width)]

    assert max(map(len, lines)) <= max(width, 33)
    assert [line for line in lines if line.startswith("Processes")] == [
        lines[lines.index(next(each for each in lines if each.startswith("Processes")))]
    ]
    assert all(width_of(line) for line in lines)


# Reload

RELEASE = {
    "versions": {"django-gearman": "1.0.0", "Django": "6.0"},
    "folder": "/srv/1",
    "jobs": ["a", "b"],
    "processes": ["worker 1", "worker 2"],
}


@pytest.mark.parametrize(
    ("now", "line"),
    [
        ({}, "2 jobs; replacing 2 processes one by one"),
        (
            {"jobs": ["a", "c", "d"]},
            "3 jobs, 2 added (c, d), 1 removed (b); replacing 2 processes one by one",
        ),
        (
            {"jobs": list("abcdefghi")},
            "9 jobs, 7 added (c, d, e, f, g, ..); replacing 2 processes one by one",
        ),
        (
            {"versions": {"django-gearman": "1.0.0", "Django": "6.1"}, "folder": "/srv/2"},
            "2 jobs; Django 6.0 -> 6.1; folder /srv/1 -> /srv/2; replacing 2 processes one by one",
        ),
        (
            {"processes": ["attendant", "worker 1", "worker 2"]},
            "2 jobs; replacing 3 processes one by one, 1 added (attendant)",
        ),
    ],
)
def test_a_reload_says_what_has_changed(now, line):
    assert changes(RELEASE, RELEASE | now) == line


def test_a_reload_of_an_older_release_is_not_compared():
    assert changes({}, RELEASE) == "2 jobs; replacing 2 processes one by one"


# End


@pytest.mark.parametrize(
    ("tally", "seconds", "interrupted", "line"),
    [
        (Tally(), 4.22, 0, "0 jobs done, 0 failed, 0 retried in 4.2 s"),
        (Tally(1), 61, 0, "1 job done, 0 failed, 0 retried in 1 min 1 s"),
        (Tally(42, 1, 2), 720, 0, "42 jobs done, 1 failed, 2 retried in 12 min"),
        (
            Tally(42, 1, 2),
            7300,
            2,
            "42 jobs done, 1 failed, 2 retried in 2 h 1 min; "
            "2 interrupted, to run again on another worker",
        ),
    ],
)
def test_a_worker_says_at_its_end_what_it_has_done(tally, seconds, interrupted, line):
    account = Account()
    account.tally, account.interrupted = tally, interrupted
    account.began -= seconds

    assert farewell(account) == line


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (59.94, "59.9 s"),
        (60, "1 min"),
        (3599, "59 min 59 s"),
        (3600, "1 h"),
        (86399, "23 h 59 min"),
        (86400 * 3 + 3600 * 4, "3 d 4 h"),
    ],
)
def test_a_time_has_one_or_two_units(seconds, text):
    assert duration(seconds) == text
