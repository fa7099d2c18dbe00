"""Records with real databases, a real gearmand, and processes that are killed."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.contrib.integration.databases import Database, Project
from tests.support.gearmand import wait_until
from tests.support.postgres import Postgres, find_postgres

pytestmark = [pytest.mark.integration, pytest.mark.gearmand]

only = pytest.mark.parametrize("vendor", ["postgresql"])
SUBMIT = "from tests.contrib import gearman_jobs as jobs\nprint(jobs.{}.id)"


def submit(project: Project, call: str) -> str:
    """Submit a background job in another process, and return its id."""
    return project.python(SUBMIT.format(call)).strip()


def failed(project: Project, *arguments: str) -> Any:
    """Call gearman_failed, and return its JSON; the warnings of checks would stand before it."""
    return json.loads(project.manage("gearman_failed", *arguments, "--json", "--skip-checks"))


def status_of(database: Database, job_id: str) -> str:
    [(status,)] = database.query(f"SELECT status FROM gearman_jobrecord WHERE id = '{job_id}'")
    return str(status)


def statuses(database: Database) -> Counter[str]:
    rows = database.query("SELECT status, COUNT(*) FROM gearman_jobrecord GROUP BY status")
    return Counter({str(status): int(number) for status, number in rows})


def kill_a_worker(worker) -> None:
    """Kill one worker process of a supervisor, with SIGKILL."""
    children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
    for child in random.sample(children, len(children)):
        if b"attendant" not in Path(f"/proc/{child}/cmdline").read_bytes():
            os.kill(int(child), signal.SIGKILL)
            return


def test_each_database_has_every_step_of_a_record(project, database):
    project.manage("makemigrations", "gearman_store", "--check", "--dry-run")
    assert "gearman_store." not in project.manage("check", "--database", "default")
    worker = project.worker()
    done, broken = (
        submit(project, "works.do_background(21)"),
        submit(project, "works.do_background(10)"),
    )
    get = (
        "import asyncio\n"
        "result = GearmanClient().get_result('{0}', timeout=60)\n"
        "assert asyncio.run(GearmanClient().aget_result('{0}', timeout=60)) == result\n"
        "print(result)"
    )

    assert project.python(get.format(done)).strip() == "42"
    wait_until(lambda: status_of(database, broken) == "FAILED", "the failure")
    [shown] = failed(project, "list")
    assert (shown["id"], shown["errors"][0]["message"]) == (broken, "number 10")
    assert failed(project, "retry", broken)["retried"] == 1
    wait_until(lambda: project.lines().count("run 10") == 2, "the second run")
    wait_until(lambda: status_of(database, broken) == "FAILED", "the second failure")
    assert failed(project, "show", broken)["attempts"] == 2
    assert failed(project, "discard", "--all", "--yes") == {"discarded": 1}
    database.query("UPDATE gearman_jobrecord SET expires_at = '2020-01-01'")
    assert project.manage("gearman_prune", "--skip-checks") == "1 records deleted\n"
    assert project.stop(worker) == 0


def test_two_retries_at_once_are_one_run_on_each_database(project, database):
    program = """
        import threading
        from django_gearman.contrib.store.actions import retry
        from django_gearman.contrib.store.models import JobRecord

        JobRecord.objects.bulk_create(
            JobRecord(id=f"{n:032x}", name="tests.contrib.works", function="tests.contrib.works",
                      status="FAILED", attempts=1, workload=b'{"args":[1],"kwargs":{}}')
            for n in range(300)
        )
        counts = []
        begin = threading.Barrier(3)

        def work():
            begin.wait()
            counts.append(retry(JobRecord.objects.all()).count)
            connections.close_all()

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(sum(counts))
    """
    assert project.python(program).split() == ["300"]

    worker = project.worker("--burst")
    assert worker.wait(60) == 0
    assert project.lines() == ["run 1"] * 300
    assert statuses(database) == {"SUCCESSFUL": 300}


@only
def test_a_job_whose_end_is_recorded_is_not_run_again(project, database):
    worker = project.worker("-w", "2")
    result = project.python("""
        from tests.contrib import gearman_jobs as jobs
        print(jobs.dies_when_recorded.do(21))
    """)

    assert result.strip() == "42"
    assert project.lines() == ["run 21"]
    assert statuses(database) == {"SUCCESSFUL": 1}
    assert project.stop(worker) == 0
    assert "had ended before, and is not run again" in project.output(worker)


@only
def test_a_late_run_changes_nothing(project, database, own_gearmand, tmp_path):
    go, spec = tmp_path / "go", tmp_path / "spec"
    first = project.worker()
    project.python(f"""
        from tests.contrib import gearman_jobs as jobs
        request = jobs.waits_in_its_first_run.do_background({str(go)!r})
        open({str(spec)!r}, "w").write(repr((*request.spec[:3],)))
    """)
    wait_until(lambda: project.lines() == ["run"], "the first run")
    own_gearmand.kill()
    own_gearmand.start()
    second = project.worker()
    project.python(f"""
        from django_gearman.backends import get_backend
        from django_gearman.backends.base import JobSpec
        spec = eval(open({str(spec)!r}).read())
        get_backend().submit([JobSpec(*spec, background=True)])
    """)
    wait_until(lambda: statuses(database) == {"SUCCESSFUL": 1}, "the second run")
    [before] = database.query("SELECT run, finished_at, worker_ids FROM gearman_jobrecord")

    go.touch()
    wait_until(lambda: "is not recorded" in project.output(first), "the end of the first run")

    assert database.query("SELECT run, finished_at, worker_ids FROM gearman_jobrecord") == [before]
    assert before[0] == 2
    assert [project.stop(first), project.stop(second)] == [0, 0]


@only
@pytest.mark.parametrize(("job", "runs"), [("kills_its_process", 2), ("kills_each_process", 3)])
def test_a_job_that_kills_its_processes_is_a_failure(project, database, job, runs):
    worker = project.worker()
    job_id = submit(project, f"{job}.do_background()")

    wait_until(lambda: statuses(database) == {"FAILED": 1}, "the failure")
    shown = failed(project, "show", job_id)
    assert project.lines() == ["run"] * runs
    assert shown["exception"] == "django_gearman.exceptions.WorkerDied"
    assert project.stop(worker) == 0


@only
def test_each_job_has_one_end_however_often_workers_and_connections_die(project, database):
    jobs = 200
    project.python(f"""
        from tests.contrib import gearman_jobs as jobs
        with transaction.atomic():
            for n in range({jobs}):
                jobs.works.do_background(n)
    """)
    worker = project.worker("-w", "3")
    for _ in range(6):
        time.sleep(0.2)
        kill_a_worker(worker)
        database.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    def ended() -> bool:
        return statuses(database) == {"SUCCESSFUL": jobs * 9 // 10, "FAILED": jobs // 10}

    wait_until(ended, "every job has ended", seconds=120)
    rows = database.query("SELECT errors FROM gearman_jobrecord WHERE status = 'FAILED'")
    numbers = [json.loads(errors) if isinstance(errors, str) else errors for (errors,) in rows]
    runs = Counter(project.lines())
    for errors in numbers:
        number = errors[0]["message"].removeprefix("number ")
        assert 1 <= len(errors) <= runs[f"run {number}"]
    assert project.stop(worker) == 0


@pytest.mark.parametrize("vendor", ["sqlite"])
def test_a_job_completes_while_the_database_is_down(project, tmp_path):
    programs = find_postgres()
    if programs is None:
        pytest.skip("PostgreSQL is not installed")
    with Postgres(programs) as server:
        config = {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": "127.0.0.1",
            "PORT": server.port,
            "USER": "test",
            "NAME": "postgres",
        }
        project.set(TEST_DATABASES=json.dumps({"default": config}))
        project.manage("migrate", "--verbosity", "0")
        worker = project.worker()
        go = tmp_path / "go"
        client = project.program(f"""
            from tests.contrib import gearman_jobs as jobs
            print(jobs.waits_in_its_first_run.do({str(go)!r}))
        """)
        calling = project.start(sys.executable, "-c", client)
        wait_until(lambda: project.lines() == ["run"], "the job")
    go.touch()  # the server is gone

    assert calling.wait(60) == 0
    assert project.output(calling).strip() == "first"
    project.stop(worker)
    assert project.output(worker).count("the store could not record the end of job") == 1


@only
def test_postgresql_has_one_index_of_ids_also_after_an_upgrade(project, database):
    ids = (
        "SELECT indexname FROM pg_indexes WHERE tablename = 'gearman_jobrecord' "
        "AND indexdef LIKE '%(id%'"
    )
    assert database.query(ids) == [("gearman_jobrecord_pkey",)]
    earlier = "gearman_jobrecord_id_1997a199_like"  # as Django names it
    database.query(f"CREATE INDEX {earlier} ON gearman_jobrecord (id varchar_pattern_ops)")
    assert len(database.query(ids)) == 2

    project.manage("migrate", "gearman_store", "0001_initial")
    project.manage("migrate")

    assert database.query(ids) == [("gearman_jobrecord_pkey",)]
