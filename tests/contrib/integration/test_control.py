"""Supervisors that answer, hang, reload and end, with real workers and a real gearmand."""

from __future__ import annotations

import os
import signal

import pytest

from django_gearman.contrib.store import control
from django_gearman.contrib.store.control import messages
from tests.support.gearmand import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.gearmand]

PATIENT = 20.0  # seconds that a busy machine may need to answer


@pytest.fixture(params=["sqlite"])
def vendor(request) -> str:
    return request.param


@pytest.fixture
def asks(settings, own_gearmand) -> None:
    """Let this process ask the supervisors at the test's gearmand."""
    settings.GEARMAN_BACKEND, settings.GEARMAN_SERVERS = "gearman", [own_gearmand.address]


def found(worker) -> control.SupervisorInfo | None:
    """Return the supervisor of a worker, if it answers."""
    for each in control.list_supervisors(PATIENT).supervisors:
        if each.pid == worker.pid:
            return each
    return None


def running(worker) -> list[control.RunningJob]:
    info = found(worker)
    return [job for process in info.processes for job in process.jobs] if info else []


def test_a_supervisor_shows_its_processes_and_their_jobs(project, asks):
    worker = project.worker("-w", "2")
    wait_until(lambda: found(worker), "the supervisor", 90)
    ids = project.python("""
        print(slow.do_background(60).id, slow.using(unique="mine").do_background(60).id)
    """).split()

    jobs = wait_until(lambda: len(seen := running(worker)) == 2 and seen, "both jobs")

    info = found(worker)
    assert info is not None
    assert info.name == f"{messages.host_name()}:{worker.pid}"
    assert info.queues == ("trail",)
    assert info.uptime > 0
    assert info.memory > 10
    assert sorted(job.id for job in jobs) == sorted(ids)
    assert {(job.job, job.queue) for job in jobs} == {("tests.contrib.integration.slow", "trail")}
    assert [process.state for process in info.processes] == ["running", "running"]
    assert all(process.memory > 10 for process in info.processes)
    status = project.manage("gearman_status", "--skip-checks")
    assert "django_gearman.control" not in status
    os.kill(worker.pid, signal.SIGSTOP)
    answers = control.list_supervisors(3)
    os.kill(worker.pid, signal.SIGCONT)
    assert answers.supervisors == ()
    assert answers.problems == (f"supervisor {info.name}: it has not answered in 3 s",)


def test_errors_of_the_store_are_counted_for_all_processes(project, asks, database):
    # Given two processes that one after the other lose the table of records
    worker = project.worker("-w", "2", "--max-jobs", "1")
    wait_until(lambda: found(worker), "the supervisor", 90)
    database.query("ALTER TABLE gearman_jobrecord RENAME TO gearman_away")

    # When two jobs fail
    project.python("for _ in range(2): submits.do_background()")

    # Then the supervisor knows both errors, although their processes were replaced
    def errors() -> control.StoreErrors | None:
        info = found(worker)
        return info.store_errors if info and info.store_errors else None

    wait_until(lambda: (each := errors()) and each.count == 2, "the errors")
    line = project.manage("gearman_control", "list", "--skip-checks", "--timeout", "20")
    name = f"{messages.host_name()}:{worker.pid}"
    assert f"Store of {name}: 2 records were not written since " in line
    assert "lacks a table of django_gearman.contrib.store" in line
    database.query("ALTER TABLE gearman_away RENAME TO gearman_jobrecord")


def test_the_stack_of_a_process_is_read_without_harm(project, asks):
    worker = project.worker()
    wait_until(lambda: found(worker), "the supervisor", 90)
    project.python("slow.do_background(20)")
    wait_until(lambda: running(worker), "the job")
    info = found(worker)
    assert info is not None
    [process] = info.processes

    stacks = [control.stack(info.name, process.pid, PATIENT) for _ in range(3)]

    for stack in stacks:
        assert "tests/contrib/integration/gearman_jobs.py" in stack
        assert stack.count("Current thread") == 1
    wait_until(lambda: project.lines() == ["begin", "end"], "the end of the job", 90)
    assert [each.pid for each in found(worker).processes] == [process.pid]
    with pytest.raises(control.ControlError, match=f"no process {worker.pid};.*{process.pid}"):
        control.stack(info.name, worker.pid, PATIENT)
    with pytest.raises(control.ControlError, match="knows a supervisor 'elsewhere:1'"):
        control.stack("elsewhere:1", process.pid, PATIENT)
    os.kill(process.pid, signal.SIGSTOP)
    with pytest.raises(control.ControlError, match=r"has not written its stack: .*is stopped"):
        control.stack(info.name, process.pid, PATIENT)
    os.kill(process.pid, signal.SIGCONT)


MARK = "tests.contrib.integration.mark"
NOTE = "tests.contrib.integration.note"


def test_a_pause_reaches_every_worker_and_holds_through_restarts(project, asks, own_gearmand):
    worker = project.worker("-q", "other")
    wait_until(lambda: found(worker), "the supervisor", 90)
    project.python("slow.do_background(20)")
    wait_until(lambda: project.lines() == ["begin"], "the job that runs")
    assert project.manage("gearman_control", "pause", "trail", "--by", "ann", "--skip-checks") == (
        "queue trail: paused\n"
    )
    wait_until(lambda: project.lines() == ["begin", "end"], "the end of the job that runs", 90)
    wait_until(lambda: own_gearmand.totals()[MARK][2] == 0, "no worker")
    late = project.worker()
    wait_until(lambda: found(late), "a worker that starts later")

    project.python("mark.do_background('waits'); note.do_background('runs')")

    wait_until(lambda: project.lines()[2:] == ["runs"], "the job of the other queue")
    assert "queue trail is paused by ann" in project.output(worker)
    listed = project.manage("gearman_control", "list", "--skip-checks", "--timeout", "20")
    assert listed.splitlines()[-1].split()[0] == "trail"
    status = project.manage("gearman_status", "--skip-checks")
    assert "Queue trail is paused by ann since " in status
    before = {each.pid for each in found(worker).processes}
    control.reload(found(worker).name, PATIENT)
    wait_until(lambda: (now := found(worker)) and not before & {p.pid for p in now.processes}, "it")
    assert own_gearmand.totals()[MARK] == (1, 0, 0)

    project.manage("gearman_control", "resume", "trail", "--skip-checks")

    wait_until(lambda: project.lines()[2:] == ["runs", "waits"], "the job that waited")
    wait_until(lambda: own_gearmand.totals()[MARK][2] == 2, "both workers")
    assert "queue trail is no longer paused" in project.output(late)
    assert "Reloaded: " in project.output(worker)
    assert project.stop(worker) == project.stop(late) == 0
    assert control.list_supervisors(PATIENT) == control.Answers(), "they are gone at once"


def test_a_pause_reaches_a_process_with_threads_while_its_jobs_run(project, asks, own_gearmand):
    # Given a process with a job that runs on and on
    worker = project.worker("-q", "other", "--threads", "4")
    wait_until(lambda: found(worker), "the supervisor", 90)
    project.python("slow.do_background(600)")
    wait_until(lambda: project.lines() == ["begin"], "the job that runs")

    # When its queue is paused
    project.manage("gearman_control", "pause", "trail", "--skip-checks")
    wait_until(lambda: own_gearmand.totals()[MARK][2] == 0, "no worker")
    project.python("mark.do_background('waits'); note.do_background('runs')")

    # Then the process runs jobs of its other queue, and none of this one, until that is resumed
    wait_until(lambda: project.lines()[1:] == ["runs"], "the job of the other queue")
    project.manage("gearman_control", "resume", "trail", "--skip-checks")
    wait_until(lambda: project.lines()[1:] == ["runs", "waits"], "the job that waited")
    project.manage("gearman_control", "pause", "other", "--skip-checks")
    wait_until(lambda: own_gearmand.totals()[NOTE][2] == 0, "no worker of the other queue")
    project.python("mark.do_background('goes on')")
    wait_until(lambda: project.lines()[3:] == ["goes on"], "a job of the first queue")
    [job] = running(worker)
    assert job.job == "tests.contrib.integration.slow"
    assert own_gearmand.totals()[job.function][:2] == (1, 1), "it was given to nobody else"
    assert project.lines().count("begin") == 1
