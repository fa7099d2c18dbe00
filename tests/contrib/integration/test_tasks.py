"""Tasks on a real gearmand, with worker processes that die, and a database for their results."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from tests.support.gearmand import Gearmand, wait_until

pytestmark = [
    pytest.mark.integration,
    pytest.mark.gearmand,
    pytest.mark.parametrize("vendor", ["sqlite"]),
]

PRELUDE = """
import json
from tests.contrib.integration import work
from django_gearman.contrib.tasks_backend.compat import task_backends

def show(result):
    print(json.dumps({
        "id": result.id,
        "status": result.status,
        "attempts": result.attempts,
        "worker_ids": result.worker_ids,
        "errors": [error.exception_class.__name__ for error in result.errors],
        "value": result._return_value,
    }))

def wait_for(result):
    deadline = time.monotonic() + 60
    while not result.is_finished and time.monotonic() < deadline:
        time.sleep(0.05)
        result.refresh()
    show(result)

"""


@pytest.fixture
def python(project):
    """Return a function that runs a program of the project, and returns what it showed."""
    project.set(TEST_OUTBOX="false")

    def run(source: str, code: int = 0) -> Any:
        output = project.python(PRELUDE + source, code=code)
        shown = [line for line in output.splitlines() if line.startswith("{")]
        return json.loads(shown[-1]) if shown else output

    return run


@pytest.fixture
def work(project):
    """Return a function that starts a worker of all queues, or of some."""
    project.set(TEST_OUTBOX="false")

    def start(*arguments: str) -> Any:
        return project.start(sys.executable, "manage.py", "gearman_worker", *arguments)

    return start


def test_a_task_whose_worker_is_killed_is_run_by_another_one(project, python, work):
    work("-w", "2", "-q", "default")

    result = python("wait_for(work.die_once.enqueue())")

    assert (result["status"], result["attempts"], result["value"]) == ("SUCCESSFUL", 2, 2)
    assert len(set(result["worker_ids"])) == 2
    assert result["errors"] == []
    assert project.lines() == ["attempt 1", "attempt 2"]


def test_a_task_that_kills_every_worker_fails_after_three(project, python, work):
    work("-w", "2", "-q", "default")

    result = python("wait_for(work.die.enqueue())")

    assert (result["status"], result["errors"]) == ("FAILED", ["WorkerDied"])
    assert (result["attempts"], project.lines()) == (3, ["dies"] * 3)


def test_deaths_count_as_attempts_and_backoff_sees_them(project, python, work):
    work("-w", "2", "-q", "default")

    result = python("wait_for(work.die_twice.enqueue())")

    assert (result["status"], result["attempts"]) == ("FAILED", 2)
    assert result["errors"] == ["WorkerDied", "WorkerDied"]
    assert project.lines() == ["WorkerDied 1"]


def test_the_time_limit_ends_a_task_also_by_force(project, python, work):
    work("-w", "2", "-q", "default")

    result = python("wait_for(work.sleep_on.enqueue())")
    assert (result["status"], result["errors"]) == ("FAILED", ["JobTimeLimitExceeded"])

    result = python("wait_for(work.never_end.enqueue())")
    assert (result["status"], result["attempts"]) == ("FAILED", 2)
    assert result["errors"] == ["JobTimeLimitExceeded"] * 2
    assert project.lines() == ["JobTimeLimitExceeded 1"]


def test_without_a_server_a_task_is_not_enqueued(python, own_gearmand):
    own_gearmand.kill()

    output = python("""
from django_gearman.contrib.store.models import JobRecord
from django_gearman.contrib.tasks_backend.compat import TaskResultDoesNotExist
from django_gearman.exceptions import ServerUnavailable
try:
    work.note.enqueue(1)
except ServerUnavailable as error:
    print("ServerUnavailable:", error)
print(JobRecord.objects.count(), "records")
try:
    work.note.get_result("0" * 32)
except TaskResultDoesNotExist:
    print("TaskResultDoesNotExist")
""")

    assert "ServerUnavailable: " in output
    assert "0 records" in output
    assert "TaskResultDoesNotExist" in output


def test_with_an_outbox_a_task_runs_when_the_server_is_back(project, python, work, own_gearmand):
    own_gearmand.kill()
    result = python("show(work.note_durably.enqueue('late'))")
    assert result["status"] == "READY"

    own_gearmand.start()
    work("-q", "durable")

    wait_until(lambda: project.lines() == ["late"], "the task")
    result = python(f"wait_for(work.note_durably.get_result('{result['id']}'))")
    assert (result["status"], result["attempts"]) == ("SUCCESSFUL", 1)


def test_a_transaction_that_is_rolled_back_enqueues_nothing(project, python, work, own_gearmand):
    output = python("""
from django_gearman.contrib.store.models import JobRecord
try:
    with transaction.atomic():
        work.note_durably.enqueue("undone")
        raise Undone
except Undone:
    pass
print(JobRecord.objects.count(), "records,", OutboxJob.objects.count(), "rows")
work.note_durably.enqueue("done")
""")

    assert "0 records, 0 rows" in output
    work("-q", "durable", "--burst").wait(60)
    assert project.lines() == ["done"]


def test_a_server_that_is_killed_loses_no_waiting_task(
    project, python, work, tmp_path, own_gearmand
):
    store = f"--libsqlite3-db={tmp_path / 'queue.sqlite3'}"
    with Gearmand("--queue-type=libsqlite3", store) as gearmand:
        project.set(TEST_GEARMAND=gearmand.address)
        python("for n in range(200): work.note.enqueue(n)")
        gearmand.kill()
        gearmand.start()

        work("-w", "2", "-q", "default")

        wait_until(lambda: len(project.lines()) >= 200, "the tasks", 60)
        output = python("""
from django_gearman.contrib.store.models import JobRecord
deadline = time.monotonic() + 30
while JobRecord.objects.exclude(status="SUCCESSFUL").exists() and time.monotonic() < deadline:
    time.sleep(0.05)
results = [work.note.get_result(pk) for pk in JobRecord.objects.values_list("pk", flat=True)]
print(json.dumps({
    "ended": sorted({str(result.status) for result in results}),
    "number": len(results),
    "errors": [each for result in results for each in result.errors],
    "values": sorted(result.return_value for result in results),
}))
""")
        assert output == {
            "ended": ["SUCCESSFUL"],
            "number": 200,
            "errors": [],
            "values": [*range(200)],
        }


def test_a_high_task_overtakes_another_one_of_its_queue(project, python, work):
    python("""
for n in range(3):
    work.note.enqueue(f"normal{n}")
work.note.using(priority=-5).enqueue("low")
work.note_otherwise.using(priority=5).enqueue("high")
""")

    work("--burst", "-q", "default", "--prefetch", "0").wait(60)

    assert project.lines() == ["high", "normal0", "normal1", "normal2", "low"]


def test_a_deferred_task_waits_for_its_time(project, python, work):
    work("-q", "default")

    result = python("""
import datetime
from django.utils import timezone
when = timezone.now() + datetime.timedelta(seconds=1.5)
result = work.note.using(run_after=when, priority=9).enqueue("late")
wait_for(result)
print(json.dumps({"early": result.started_at < when, "status": result.status}))
""")

    assert result == {"early": False, "status": "SUCCESSFUL"}


def test_one_worker_serves_jobs_and_tasks(project, python, work, own_gearmand):
    worker = work("-q", "trail", "-q", "default")
    python("mark.do_background('job'); wait_for(work.note.enqueue('task'))")

    wait_until(lambda: {*project.lines()} == {"job", "task"}, "both")
    assert project.stop(worker) == 0
