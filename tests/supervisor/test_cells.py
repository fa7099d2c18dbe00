"""Processes with several tasks at a time: a cell of the scoreboard for each."""

from __future__ import annotations

import math
import os
import time

import pytest

from django_gearman.supervisor import Ended, Scoreboard, Tally
from django_gearman.supervisor.cell import MAX_NAME, MAX_TASK
from django_gearman.supervisor.scoreboard import Phase
from tests.support.gearmand import wait_until

TAKE = """for n, seconds in enumerate({seconds}):
            scoreboard.cell(n).take(b'task-%d' % n, time.monotonic() + seconds)
        """
MANY = "Slot('many', start, cells=3)"


@pytest.fixture
def board():
    made = Scoreboard(cells=4)
    yield made
    made.close()


def test_each_cell_has_its_own_task(board):
    one, three = board.cell(1), board.cell(3)
    one.take(b"one", 5.0)
    three.take(b"x" * MAX_TASK, 4.0)
    three.report(60)

    again = Scoreboard(os.dup(board.descriptor))

    assert again.tasks() == [b"one", b"x" * MAX_TASK]
    assert [cell.phase for cell in again.running()] == [Phase.RUNNING, Phase.REPORTING]
    assert again.deadlines[2] == again.deadline == 5.0
    assert again.deadlines[4] == three.overdue_at > 5.0
    assert again.task == b"", "of the first cell"
    again.close()


def test_the_activity_of_a_process_is_that_of_its_tasks(board):
    assert board.activity is Phase.IDLE

    board.cell(2).take(b"task", math.inf)
    assert board.activity is Phase.RUNNING

    board.cell(2).report(60)
    assert board.activity is Phase.REPORTING

    board.take(b"another", math.inf)
    assert board.activity is Phase.RUNNING


def test_the_tally_counts_all_cells(board):
    board.count(Ended.DONE)
    board.cell(3).count(Ended.DONE)
    board.cell(2).count(Ended.FAILED)

    assert board.tally == Tally(done=2, failed=1)


def test_a_cell_that_does_not_exist_is_an_error(board):
    with pytest.raises(IndexError, match="cell 4 of a scoreboard with 4"):
        board.cell(4)


def test_memory_is_used_as_cells_are():
    board = Scoreboard(cells=1000)
    board.cell(0).take(b"task", math.inf)

    used = os.fstat(board.descriptor).st_blocks * 512
    board.close()

    assert used <= 1 << 16, f"{used} bytes for one task of 1000"


def test_a_request_to_cancel_names_its_task(board):
    assert board.cell(2).cancel is None
    before = time.monotonic()

    board.cell(2).ask_to_cancel("an-id")

    again = Scoreboard(os.dup(board.descriptor))
    name, asked_at = again.cell(2).cancel
    assert name == "an-id"
    assert before <= asked_at <= time.monotonic()
    assert again.cell(1).cancel is None
    again.close()


def test_a_name_that_is_too_long_is_not_cut(board):
    board.ask_to_cancel("x" * MAX_NAME)
    with pytest.raises(ValueError, match=f"at most {MAX_NAME} bytes, not {MAX_NAME + 2}"):
        board.ask_to_cancel("x" * MAX_NAME + "ä")

    assert board.cancel[0] == "x" * MAX_NAME


# With a supervisor


def test_each_task_of_a_dead_process_is_reported(launch):
    family = launch(
        processes=0,
        slots=MANY,
        run=TAKE.format(seconds="(60, 60, 60)") + "os.kill(os.getpid(), 9)",
    )

    wait_until(lambda: len(family.lines("died")) >= 3, "three deaths")

    about = ["1", "False", "was", "killed", "by", "SIGKILL", "NOTHING"]
    assert family.lines("died")[:3] == [[f"task-{n}", *about] for n in range(3)]
    assert "while it ran task-0, task-1, task-2; starting another one" in family.output
    assert family.stop() == 0


def test_a_report_that_dies_does_not_take_the_others_with_it(launch):
    family = launch(
        processes=0,
        slots=MANY,
        run=TAKE.format(seconds="(60, 60, 60)") + "os.kill(os.getpid(), 9)",
        on_death="death.task == b'task-1' and os._exit(1)",
    )

    wait_until(lambda: len(family.lines("died")) >= 3, "three deaths")

    assert [line[0] for line in family.lines("died")[:3]] == ["task-0", "task-1", "task-2"]
    assert family.stop() == 0


def test_an_overdue_task_leaves_the_others_their_time(launch):
    # Given a process with two tasks, of which one is overdue soon
    family = launch(
        processes=0,
        slots=MANY,
        before="import pathlib; here = pathlib.Path(__file__).parent",
        run="""if (here / "first").exists():
            while not stopping: scoreboard.beat(); time.sleep(0.01)
            return
        (here / "first").touch()
        """
        + TAKE.format(seconds="(0.3, 600)")
        + """while not (here / "go").exists(): time.sleep(0.01)
        scoreboard.cell(1).drop(); say("finished", len(stopping)); time.sleep(600)""",
    )
    wait_until(lambda: len(family.children()) >= 2, "another process starts at once")
    assert "runs overdue tasks: task-0;" in family.output
    assert family.lines("died") == []

    # When the other one has ended
    (family.program.parent / "go").touch()
    wait_until(lambda: family.lines("died"), "the process is killed")

    # Then only the overdue one is charged
    assert family.lines("finished") == [["1"]], "it got SIGTERM before"
    assert [line[:3] for line in family.lines("died")] == [["task-0", "1", "True"]]
    assert family.stop() == 0
