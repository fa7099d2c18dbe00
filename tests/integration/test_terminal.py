"""The commands on a terminal and in a pipe, as users see them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from django_gearman.protocol.packets import PacketType, encode
from tests.support.terminal import ROOT, Terminal

pytestmark = pytest.mark.integration
ENVIRONMENT = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.integration.settings"}


def shown(*arguments: str, **options: object) -> Terminal:
    with Terminal(*arguments, **options) as terminal:
        terminal.wait()
    return terminal


def test_a_list_of_jobs_fits_a_terminal():
    terminal = shown("gearman_list_tasks", columns=80)

    assert terminal.process.returncode == 0
    assert len(terminal.text.splitlines()) > 10
    assert max(map(len, terminal.text.splitlines())) <= 80


@pytest.mark.parametrize("environment", [{"COLUMNS": "3"}, {"COLUMNS": "0"}, {"COLUMNS": "wide"}])
def test_no_width_of_a_terminal_is_an_error(environment):
    assert shown("gearman_list_tasks", environment=environment).process.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "environment", "is_coloured"),
    [
        ([], {}, True),
        (["--no-color"], {}, False),
        ([], {"NO_COLOR": "1"}, False),
        ([], {"NO_COLOR": ""}, True),
        (["--force-color"], {"NO_COLOR": "1"}, True),
    ],
)
def test_colours_are_for_terminals_that_want_them(arguments, environment, is_coloured):
    terminal = shown("gearman_list_tasks", *arguments, environment=environment)

    assert ("\x1b[" in terminal.raw) is is_coloured


def test_a_pipe_gets_neither_colours_nor_cut_names():
    run = subprocess.run(
        [sys.executable, "manage.py", "gearman_list_tasks"],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert "\x1b" not in run.stdout
    assert "gearman_example/gearman_jobs.py:" in run.stdout


def test_a_reader_that_ends_early_ends_the_command_quietly():
    run = subprocess.run(
        [
            "bash",
            "-c",
            f"set -o pipefail; {sys.executable} manage.py gearman_list_tasks | head -0",
        ],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
    )

    assert run.stderr == ""
    assert run.returncode in (0, 141)  # 0 if it was faster than its reader


@pytest.fixture
def server(own_gearmand) -> dict[str, str]:
    """A job server with a job that no worker serves, as environment variables."""
    with socket.create_connection(("127.0.0.1", own_gearmand.port)) as connection:
        connection.sendall(encode(PacketType.SUBMIT_JOB_BG, b"shop.revers", b"u", b"w"))
        connection.recv(100)
    return {"GEARMAN_BACKEND": "gearman", "GEARMAN_SERVERS": own_gearmand.address}


@pytest.mark.gearmand
def test_a_status_on_a_terminal_is_coloured_and_says_its_trouble_once(server):
    terminal = shown("gearman_status", environment=server)

    assert terminal.process.returncode == 2
    assert "\x1b[31;1m!  unknown  shop.revers" in terminal.raw
    assert terminal.text.count("Trouble: no worker serves the jobs of shop.revers") == 1
    assert "CommandError" not in terminal.text


@pytest.mark.gearmand
def test_a_watched_status_stays_on_one_screen_until_control_c(server):
    with Terminal("gearman_status", "--watch", "0.1", lines=6, environment=server) as terminal:
        terminal.wait_for(lambda text: text.count("! ") >= 4, "it is shown again")
        terminal.send("\x03")
        code = terminal.wait()

    assert code == 0
    frames = terminal.raw.split("\x1b[H")[1:-1]
    assert len(frames) >= 2
    assert all(frame.count("\n") <= 5 for frame in frames)
    assert "Traceback" not in terminal.text


@pytest.mark.gearmand
def test_a_watched_status_in_a_pipe_is_a_json_object_in_each_line(server):
    watching = subprocess.Popen(
        [sys.executable, "manage.py", "gearman_status", "--json", "--watch", "0.1"],
        cwd=ROOT,
        env={**ENVIRONMENT, **server},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines = [watching.stdout.readline() for _ in range(3)]
    watching.send_signal(signal.SIGINT)
    _, errors = watching.communicate(timeout=30)

    assert errors == ""
    assert watching.returncode == 0
    for line in lines:
        assert json.loads(line)["servers"][0]["error"] is None


@pytest.mark.gearmand
@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ("y\n", "Dropped 1 job of shop.revers."),
        ("yes\n", "Dropped 1 job of shop.revers."),
        ("n\n", "Nothing was dropped."),
        ("\n", "Nothing was dropped."),
        ("\x04", "Nothing was dropped."),
    ],
)
def test_a_purge_asks_before_it_drops(server, answer, outcome):
    with Terminal("gearman_purge", "--unknown", environment=server) as terminal:
        terminal.wait_for(lambda text: "Drop 1 job? [y/N]" in text, "the question")
        terminal.send(answer)
        assert terminal.wait() == 0

    assert outcome in terminal.text
    assert "Traceback" not in terminal.text
