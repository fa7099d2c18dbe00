"""The commands on a terminal and in a pipe, as users see them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.terminal import ROOT, Terminal

pytestmark = pytest.mark.integration


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
        capture_output=True,
        text=True,
    )

    assert run.stderr == ""
    assert run.returncode in (0, 141)  # 0 if it was faster than its reader
