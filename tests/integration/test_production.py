"""A worker that runs for months: it loses nothing, and nothing brings it down."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from pathlib import Path

import pytest

from django_gearman.exceptions import JobRaised
from tests.integration.conftest import workers_ready
from tests.support.gearmand import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.gearmand]


def is_idle(server) -> bool:
    return all(total == 0 for total, _, _ in server.totals().values())


# Jobs that cost a worker


@pytest.mark.parametrize("backend", ["gearman", "python-gearman"])
@pytest.mark.parametrize("how", ["exit", "leave", "kill", "crash"])
def test_a_poison_job_stops_after_its_attempts(launch, client, own_gearmand, trail, backend, how):
    worker = launch("gearman_worker", "-w", "2", backend=backend)
    workers_ready(own_gearmand, 2)

    client.dispatch_background_task("tests.integration.poison", how)

    wait_until(lambda: "in attempt 2" in worker.output, "it has failed for good")
    wait_until(lambda: is_idle(own_gearmand), "nothing is left")
    assert trail() == [f"{how}-1", f"{how}-2"]
    assert "while it ran job tests.integration.poison" in worker.output
    assert client.submit_job("tests.integration.mark", 1, poll_timeout=30).result == 1
    assert worker.stop() == 0


def test_a_poison_job_that_declares_no_retries_costs_three_workers(launch, client, trail):
    worker = launch("gearman_worker", "-w", "2")

    request = client.submit_job("tests.integration.poison_without_retries", poll_timeout=60)

    with pytest.raises(JobRaised, match=r"WorkerDied: .* its worker process exited with 1"):
        print(request.result)
    assert trail() == ["died"] * 3
    assert worker.stop() == 0


def test_a_poison_job_with_a_waiting_client_fails_there(launch, client, trail):
    worker = launch("gearman_worker")

    request = client.submit_job("tests.integration.poison", "kill", poll_timeout=60)

    with pytest.raises(JobRaised, match="WorkerDied"):
        print(request.result)
    assert trail() == ["kill-1", "kill-1"]
    assert worker.stop() == 0


@pytest.mark.parametrize(
    ("loop", "marks"),
    [
        ("python", ["python"]),
        ("careless", ["careless", "JobTimeLimitExceeded"]),
        ("c", ["c"]),
    ],
)
def test_a_job_ends_at_its_time_limit(launch, client, own_gearmand, trail, loop, marks):
    worker = launch("gearman_worker")

    client.dispatch_background_task("tests.integration.endless", loop)

    wait_until(lambda: "in attempt 2" in worker.output, "it has failed for good", 60)
    wait_until(lambda: is_idle(own_gearmand), "nothing is left")
    assert trail() == marks * 2
    assert "JobTimeLimitExceeded" in worker.output
    assert ("it exceeded its time limit" in worker.output) is (loop != "python")
    assert worker.stop() == 0


def test_a_failed_job_is_tried_again_later(launch, client, own_gearmand, trail):
    worker = launch("gearman_worker", "-w", "2")

    client.dispatch_background_task("tests.integration.flaky", 2)

    wait_until(lambda: len(trail()) == 3, "three attempts")
    wait_until(lambda: is_idle(own_gearmand), "nothing is left")
    assert trail() == ["attempt1", "attempt2", "attempt3"]
    assert worker.output.count("and runs again in") == 2
    assert worker.stop() == 0


# How long a process lives


def test_sighup_under_load_is_noticed_by_no_client(launch, client, own_gearmand):
    worker = launch("gearman_worker", "-w", "3")
    workers_ready(own_gearmand, 3)
    fewest, seen, results, is_over = [3], set(), [], threading.Event()

    def watch() -> None:
        while not is_over.is_set():
            fewest[0] = min(fewest[0], own_gearmand.totals()["tests.integration.mark"][2])
            seen.update(worker.children())

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        before = set(worker.children())
        worker.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 60
        while before & set(worker.children()) and time.monotonic() < deadline:
            request = client.submit_job("tests.integration.mark", len(results), poll_timeout=30)
            results.append(request.result)
    finally:
        is_over.set()
        watching.join()

    assert not before & set(worker.children()), "old processes are still there"
    assert results == list(range(len(results)))
    assert fewest[0] >= 2
    assert worker.stop() == 0


def test_a_process_leaves_after_its_number_of_jobs(launch, client, own_gearmand, trail):
    worker = launch("gearman_worker", "--max-jobs", "5")
    entries = [{"task": "tests.integration.mark", "data": number} for number in range(23)]

    client.submit_multiple_jobs(entries, background=True)

    wait_until(lambda: len(trail()) == 23, "all have run")
    assert sorted(map(int, trail())) == list(range(23))
    assert worker.stop() == 0
    assert "starting another one" not in worker.output


def test_a_process_for_one_job_runs_no_other(launch, client):
    worker = launch("gearman_worker", "--max-jobs", "1")
    entries = [{"task": "tests.integration.hold", "data": 0}] * 5

    client.submit_multiple_jobs(entries, background=True)

    wait_until(lambda: worker.output.count("holding") == 5, "all have run")
    processes = re.findall(r"holding (\d+)", worker.output)
    assert len(set(processes)) == 5
    assert worker.stop() == 0


def test_a_burst_ends_when_nothing_is_left(launch, client, own_gearmand, trail):
    entries = [{"task": "tests.integration.mark", "data": number} for number in range(50)]
    client.submit_multiple_jobs(entries, background=True)

    worker = launch("gearman_worker", "--burst", "-w", "2")

    assert worker.process.wait(60) == 0
    assert sorted(map(int, trail())) == list(range(50))
    assert is_idle(own_gearmand)


def test_a_burst_waits_for_a_server_that_is_down(launch, client, own_gearmand, trail):
    own_gearmand.kill()
    worker = launch("gearman_worker", "--burst")
    wait_until(lambda: "trying again" in worker.output, "it has been told")
    own_gearmand.start()
    client.dispatch_background_task("tests.integration.mark", "late")

    assert worker.process.wait(60) == 0
    assert worker.output.count("trying again") == 1


def test_a_burst_waits_for_a_server_that_dies_meanwhile(launch, client, own_gearmand, trail):
    client.dispatch_background_task("tests.integration.hold", 1.5)
    worker = launch("gearman_worker", "--burst")
    wait_until(lambda: trail() == ["begun"], "the job has begun")
    own_gearmand.kill()
    wait_until(lambda: "trying again" in worker.output, "it has noticed")
    assert worker.process.poll() is None, "it did not wait"

    own_gearmand.start()

    assert worker.process.wait(60) == 0


def test_a_burst_continues_when_processes_reach_their_limits(launch, client, own_gearmand, trail):
    entries = [{"task": "tests.integration.mark", "data": number} for number in range(40)]
    client.submit_multiple_jobs(entries, background=True)

    worker = launch("gearman_worker", "--burst", "--max-jobs", "10")

    assert worker.process.wait(60) == 0
    assert sorted(map(int, trail())) == list(range(40))


def test_a_job_that_outlasts_the_grace_period_is_given_to_others(launch, client, trail):
    worker = launch("gearman_worker", "--grace-period", "0.5")
    client.dispatch_background_task("tests.integration.hold", 1.5)
    wait_until(lambda: trail() == ["begun"], "the job has begun")

    assert worker.stop() == 0
    assert trail() == ["begun"]

    launch("gearman_worker")
    wait_until(lambda: trail() == ["begun", "begun", "done"], "another worker has done it")


def test_processes_die_with_their_parent(launch, client, own_gearmand):
    worker = launch("gearman_worker", "-w", "2")
    workers_ready(own_gearmand, 2)

    worker.process.kill()

    wait_until(lambda: own_gearmand.totals()["tests.integration.mark"][2] == 0, "they are gone")


def test_each_queue_has_processes_of_its_own(launch, own_gearmand):
    worker = launch("gearman_worker", "-q", "slow:3", "-q", "default:2", "--name", "box")
    workers_ready(own_gearmand, 3, "tests.integration.hold")
    workers_ready(own_gearmand, 2)

    listed = own_gearmand.ask("workers")
    assert listed.count("/slow :") == 3
    assert listed.count(" box/") == 5
    assert worker.stop() == 0


def test_new_code_is_run_as_soon_as_a_file_changes(launch, own_gearmand, tmp_path, monkeypatch):
    project = tmp_path / "project"
    (project / "changing").mkdir(parents=True)
    (project / "changing" / "__init__.py").touch()
    jobs = project / "changing" / "gearman_jobs.py"
    jobs.write_text("from django_gearman import gearman_job\n\n@gearman_job\ndef old(): pass\n")
    monkeypatch.setenv("PYTHONPATH", str(project))
    monkeypatch.setenv("MORE_APPS", "changing")
    worker = launch("gearman_worker", "--autoreload")
    workers_ready(own_gearmand, 1, "changing.old")

    def edit(text: str, message: str) -> None:
        checking = "checking that the new code can start"
        checks = worker.output.count(checking)
        jobs.write_text(text)

        def is_noticed() -> bool:
            later = time.time() + 10 + time.monotonic() % 1000
            os.utime(jobs, (later, later))  # it may not have looked before the first time
            time.sleep(0.2)
            return worker.output.count(checking) > checks

        wait_until(is_noticed, "the change is noticed")
        wait_until(
            lambda: message in worker.output, message
        )  # each further change would start it anew

    edit("this is no Python", "Reload failed")
    new = "from django_gearman import gearman_job\n\n@gearman_job\ndef new(): pass\n"
    edit(new, "the new code takes over")

    workers_ready(own_gearmand, 1, "changing.new")
    assert worker.stop() == 0


# What others can see


def test_a_health_file_is_there_while_all_serve(launch, own_gearmand, tmp_path):
    file = tmp_path / "health"
    file.touch()  # in another life
    worker = launch("gearman_worker", "-w", "2", "--health-file", str(file))
    workers_ready(own_gearmand, 2)

    wait_until(file.exists, "the file")
    own_gearmand.kill()
    wait_until(lambda: "trying again" in worker.output, "the loss is told")
    time.sleep(6)
    age = time.time() - file.stat().st_mtime
    assert age > 0.5, "it is touched although no server is there"
    own_gearmand.start()
    wait_until(lambda: time.time() - file.stat().st_mtime < 0.5, "it is touched again")
    assert worker.stop() == 0
    assert not file.exists()


def test_logs_in_json(launch, client, own_gearmand):
    worker = launch("gearman_worker", "--log-format", "json", "-v", "2")
    workers_ready(own_gearmand, 1)
    client.submit_job("tests.integration.mark", 1, poll_timeout=30)

    wait_until(lambda: '"message": "job tests.integration.mark' in worker.output, "a line")
    assert '"job": "tests.integration.mark"' in worker.output
    assert worker.stop() == 0


def test_a_server_that_is_down_uses_no_cpu(launch, own_gearmand):
    worker = launch("gearman_worker", "-w", "2")
    workers_ready(own_gearmand, 2)
    own_gearmand.kill()
    wait_until(lambda: worker.output.count("trying again") == 2, "the loss is told")
    processes = [worker.process.pid, *worker.children()]

    before = [cpu_seconds(process) for process in processes]
    time.sleep(5)
    used = [cpu_seconds(p) - b for p, b in zip(processes, before, strict=True)]

    assert max(used) < 0.1, used
    assert worker.output.count("trying again") == 2, "it is told once"


def cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_health_asks_every_server(launch, own_gearmand):
    well = launch("gearman_health")
    assert well.process.wait(30) == 0
    assert "1 of 1 job servers answer" in well.output

    own_gearmand.pause()
    try:
        hung = launch("gearman_health", "--timeout", "0.3")
        assert hung.process.wait(30) == 1
        assert "0 of 1 job servers answer" in hung.output
    finally:
        own_gearmand.resume()
    own_gearmand.kill()
    down = launch("gearman_health")
    assert down.process.wait(30) == 1
    assert "refused" in down.output


def test_sigterm_among_quick_jobs_loses_and_doubles_none(launch, client, own_gearmand, trail):
    entries = [{"task": "tests.integration.mark", "data": number} for number in range(6000)]
    client.submit_multiple_jobs(entries, background=True)

    stops = 0
    while not is_idle(own_gearmand):
        worker = launch("gearman_worker", "-w", "2")
        enough = min(6000, len(trail()) + 1500)
        wait_until(lambda enough=enough: len(trail()) >= enough, "some have run")
        assert worker.stop() == 0
        stops += 1

    assert stops >= 2
    assert sorted(map(int, trail())) == list(range(6000))
