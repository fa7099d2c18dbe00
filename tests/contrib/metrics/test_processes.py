"""Metrics of processes, from real scoreboards."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

from django_gearman.contrib.metrics.processes import process_metrics
from django_gearman.protocol.messages import AssignedJob
from django_gearman.supervisor import Scoreboard, Status
from django_gearman.supervisor.overview import Overview, Seen
from django_gearman.worker.process import encode_task


class Processes:
    """The processes of a supervisor that a test describes."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []

    def add(self, *functions: str, cells: int = 4, is_worker: bool = True) -> Scoreboard:
        """Add a process that runs jobs of these functions."""
        board = Scoreboard(cells=cells)
        board.start()
        for place, function in enumerate(functions):
            task = encode_task(AssignedJob("H:here:1", function, "unique", b"", True))
            board.cell(place).take(task, math.inf)
        number = len(self.seen) + 1
        self.seen.append(Seen(1000 + number, "worker", is_worker, 1.0, number, board))
        return board

    def rows(self, deaths: dict[str, int] | None = None) -> dict[tuple[str, ...], float]:
        found = Overview(self.seen, Status(1, 1, False), deaths or {})
        return {
            (sample.name, *sample.labels.values()): sample.value
            for metric in process_metrics(found, ["default", "mail"])
            for sample in metric.samples
        }


@pytest.fixture
def processes() -> Iterator[Processes]:
    made = Processes()
    yield made
    for each in made.seen:
        each.scoreboard.close()


def test_processes_are_counted_by_state(processes):
    processes.add()
    processes.add("tests.contrib.plain")
    processes.add().leave()
    processes.add("tests.contrib.plain").leave_within(10)
    processes.seen.append(Seen(7, "worker", True, 1.0, 7, Scoreboard()))
    processes.add(is_worker=False)

    rows = processes.rows()

    states = {key[1]: value for key, value in rows.items() if key[0] == "gearman_processes"}
    assert states == {"starting": 1, "idle": 1, "running": 1, "leaving": 2}


def test_each_job_of_a_process_runs_in_its_queue(processes):
    processes.add("tests.contrib.plain", "tests.contrib.plain", "tests.contrib.double")
    processes.add("tests.contrib.plain", "theirs")

    rows = processes.rows()

    running = {key[1]: value for key, value in rows.items() if key[0] == "gearman_jobs_running"}
    assert running == {"default": 4, "mail": 0, "unknown": 1}


def test_a_task_that_is_being_written_is_passed_over(processes):
    processes.add().cell(0).take(b"half", math.inf)

    assert processes.rows()["gearman_jobs_running", "default"] == 0


def test_deaths_are_counted_by_reason_also_before_the_first(processes):
    rows = processes.rows({"SIGSEGV": 2, "exit": 1})

    deaths = {key[1]: value for key, value in rows.items() if "deaths" in key[0]}
    assert deaths == {"SIGKILL": 0, "SIGSEGV": 2, "exit": 1, "time_limit": 0}
