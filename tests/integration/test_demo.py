"""`make demo`: seven acts with real processes in one terminal."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import uuid
from contextlib import suppress
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from gearman_example.demo.acts import ACTS, Unexpected
from gearman_example.management.commands import gearman_example_demo
from tests.support.terminal import ROOT, Terminal

pytestmark = pytest.mark.integration

SETTINGS = "gearman_example.settings"
DEMO = [sys.executable, "manage.py", "gearman_example_demo"]
ENVIRONMENT = {**os.environ, "DJANGO_SETTINGS_MODULE": SETTINGS}


@pytest.fixture
def mark() -> dict[str, str]:
    """Return environment variables of this test's processes alone."""
    return {"MARK_OF_A_TEST": uuid.uuid4().hex}


def marked(mark: dict[str, str]) -> list[int]:
    """Return the processes that have a mark."""
    [text] = mark.values()
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # it has ended
            if text.encode() in path.read_bytes():
                found.append(int(path.parent.name))
    return found


def test_each_act_comes_out_as_expected(mark):
    done = subprocess.run(
        DEMO,
        cwd=ROOT,
        env=ENVIRONMENT | mark,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    titles = [line for line in done.stdout.splitlines() if re.match(r"\d\. ", line)]
    assert titles == [f"{number}. {act.__doc__}" for number, act in enumerate(ACTS, 1)]
    for outcome in (
        "-> 'xof nworb kciuq ehT' in ",
        "2 counting jobs queued in ",
        "[####################] 4 of 4",
        "raises JobRaised: ZeroDivisionError: division by zero",
        "flaky was tried 3 times, and has succeeded",
        "was killed by SIGKILL, while it ran work_slowly; starting another one",
        "work_slowly.do() -> done by process ",
        "0 jobs sent; the request is PENDING",
    ):
        assert done.stdout.count(outcome) == 1, outcome
    assert "Traceback" not in done.stdout
    assert "All 7 acts went as expected" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("Next: ")
    assert "\x1b" not in done.stdout
    assert marked(mark) == []


def test_a_terminal_shows_a_colour_for_each_process_and_the_traceback_if_asked():
    with Terminal("gearman_example_demo", "-v", "2", columns=80, settings=SETTINGS) as terminal:
        assert terminal.wait() == 0, terminal.text

    assert max(map(len, terminal.text.splitlines())) <= 80
    assert "Traceback (most recent call last):" in terminal.text
    colours = dict(re.findall(r"\x1b\[(\d+)m   (client|worker \d|supervisor)", terminal.raw))
    assert len(colours) >= 4
    for line in terminal.raw.splitlines():
        assert line.count("\x1b[0m") == line.count("\x1b[") / 2, "two processes in one line"


def test_a_reader_that_ends_early_does_not_disturb_the_demo():
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {' '.join(DEMO)} | head -2"],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 2


def test_another_outcome_is_an_error(monkeypatch):
    def fails(stage):
        """An act that fails."""
        raise Unexpected("unexpected: rain")

    monkeypatch.setattr(gearman_example_demo, "ACTS", [lambda stage: None, fails])
    output = io.StringIO()

    with pytest.raises(CommandError, match="act 2 did not go as expected"):
        call_command("gearman_example_demo", stdout=output)

    assert "2. An act that fails." in output.getvalue()
    assert "client      FAILED: unexpected: rain" in output.getvalue()
    assert "All 2 acts" not in output.getvalue()


def test_a_worker_that_cannot_start_is_an_error(monkeypatch):
    monkeypatch.setattr("gearman_example.demo.stage._OPTIONS", ("--no-such-option",))
    output = io.StringIO()

    with pytest.raises(CommandError, match="the worker did not start; its output is above"):
        call_command("gearman_example_demo", stdout=output)

    assert "--no-such-option" in output.getvalue()


def test_control_c_stops_the_demo_and_its_worker(mark):
    with Terminal("gearman_example_demo", settings=SETTINGS, environment=mark) as terminal:
        terminal.wait_for(lambda text: "3. " in text, "the third act")
        terminal.send("\x03")
        assert len(marked(mark)) > 3
        assert terminal.wait() == 130

    assert "Traceback" not in terminal.text
    assert marked(mark) == []
