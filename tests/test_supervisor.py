"""The supervisor forks, so it is tried in processes of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from tests.support.gearmand import wait_until

SCRIPT = """
    import logging, os, sys, time
    from django_gearman.supervisor import Supervisor

    logging.basicConfig(stream=sys.stderr, format="%(message)s")

    def say(word):
        os.write(1, f"{{word}} {{os.getpid()}}\\n".encode())  # one write: lines stay whole

    def start():
        {start}
        stopping = []
        def run():
            say("ready")
            {run}
        return run, lambda: stopping.append(True)

    sys.exit(Supervisor(start, {processes}).run())
"""
WAIT = "while not stopping: time.sleep(0.01)\n        say('stopped')"

Launch = Callable[..., "Family"]


class Family:
    """A supervisor and its children."""

    def __init__(self, processes: int, run: str, start: str, path) -> None:
        script = textwrap.dedent(SCRIPT).format(processes=processes, run=run, start=start)
        self.output = path / "output"
        self._file = self.output.open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-c", script], stdout=self._file, stderr=subprocess.STDOUT
        )

    def children(self, word: str = "ready") -> list[int]:
        lines = [line.split() for line in self.output.read_text().splitlines()]
        return [int(line[1]) for line in lines if line[:1] == [word] and len(line) == 2]

    def wait(self) -> int:
        return self.process.wait(30)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for child in self.children():
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self._file.close()


@pytest.fixture
def launch(tmp_path) -> Iterator[Launch]:
    families: list[Family] = []

    def make(processes: int = 1, run: str = WAIT, start: str = "pass") -> Family:
        families.append(Family(processes, run, start, tmp_path))
        return families[-1]

    yield make
    for family in families:
        family.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_every_process_finish(launch, number):
    family = launch(processes=3)
    wait_until(lambda: len(family.children()) == 3, "three processes")

    family.process.send_signal(number)

    assert family.wait() == 0
    output = family.output.read_text()
    assert sorted(family.children("stopped")) == sorted(family.children("ready")), output


def test_a_signal_before_the_start_is_over_is_not_lost(launch):
    family = launch(start="say('starting'); time.sleep(0.5)")
    wait_until(lambda: family.children("starting"), "the start")

    family.process.send_signal(signal.SIGTERM)

    assert family.wait() == 0


def test_a_signal_while_processes_are_started_reaches_them_all(launch):
    family = launch(processes=20)
    wait_until(family.children, "the first process")

    family.process.send_signal(signal.SIGTERM)

    assert family.wait() == 0
    assert sorted(family.children("stopped")) == sorted(family.children("ready"))


def test_a_second_signal_kills(launch):
    family = launch(run="time.sleep(60)")
    wait_until(family.children, "the process")

    family.process.send_signal(signal.SIGTERM)
    wait_until(lambda: family.process.poll() is None, "it still waits")
    time.sleep(0.1)  # two equal signals at once are one
    family.process.send_signal(signal.SIGTERM)

    assert family.wait() == 0
    assert family.children("stopped") == []


def test_a_process_that_is_killed_is_replaced(launch):
    family = launch(processes=2)
    wait_until(lambda: len(family.children()) == 2, "two processes")
    victim = family.children()[0]

    os.kill(victim, signal.SIGKILL)

    wait_until(lambda: len(family.children()) == 3, "a third process")
    assert f"worker process {victim} was killed by SIGKILL" in family.output.read_text()
    family.process.send_signal(signal.SIGTERM)
    assert family.wait() == 0


def test_a_process_that_fails_is_replaced_without_haste(launch):
    family = launch(run="raise RuntimeError('broken')")

    wait_until(lambda: len(family.children()) >= 3, "three tries")

    output = family.output.read_text()
    assert "RuntimeError: broken" in output
    assert "exited with 1" in output
    assert len(family.children()) < 6


def test_a_process_that_cannot_start_stops_the_whole(launch):
    family = launch(processes=2, start="raise ImportError('no such module')")

    assert family.wait() == 3

    output = family.output.read_text()
    assert "no such module" in output
    assert "could not start" in output


def test_no_exit_code_of_a_job_stops_the_whole(launch):
    family = launch(processes=2, run="os._exit(3)")

    wait_until(lambda: len(family.children()) >= 4, "they are replaced")

    assert "could not start" not in family.output.read_text()
    family.process.send_signal(signal.SIGTERM)
    assert family.wait() == 0


def test_a_process_that_ends_by_itself_is_replaced(launch):
    family = launch()
    victim = wait_until(family.children, "the process")[0]

    os.kill(victim, signal.SIGTERM)

    wait_until(lambda: len(family.children()) == 2, "another process")
    assert f"worker process {victim} exited with 0" in family.output.read_text()
    family.process.send_signal(signal.SIGTERM)
    assert family.wait() == 0
