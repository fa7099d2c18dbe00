"""The client: background tasks, its servers, threads and signals."""

from __future__ import annotations

import threading

import pytest
from django.test import override_settings

from django_gearman import JOB_CREATED, PRIORITY_LOW, GearmanClient, GearmanWorker
from django_gearman.exceptions import InvalidBackend, ServerUnavailable
from django_gearman.signals import job_submitted
from django_gearman.testing.gearmand import free_port
from tests.app import gearman_jobs as jobs
from tests.support.gearmand import wait_until
from tests.support.workers import work_off

# Background


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        (["x"], {}),
        ([], {"data": "x"}),
        ([], {"arg": "x"}),
        ([], {"args": ["x"]}),
        ([], {"kwargs": {"value": "x"}}),
        ([], {"value": "x"}),
        (["x"], {"background": True}),
        (["x", "u-1", True], {}),
        (["x"], {"uniq": "u-1", "high_priority": True}),
        (["x"], {"unique": "u-1", "priority": "HIGH"}),
        (["x"], {"wait_until_complete": True, "poll_timeout": 1, "max_retries": 1}),
    ],
)
def test_background_tasks_run_in_the_background(client, ran, args, kwargs):
    request = client.dispatch_background_task("tests.app.note", *args, **kwargs)

    assert (request.background, request.state, request.complete) == (True, JOB_CREATED, True)
    assert ran == ["x"]
    if "u-1" in [*args, *kwargs.values()]:
        assert (request.unique, request.priority) == ("u-1", "HIGH")


@pytest.mark.parametrize(
    "kwargs",
    [
        {"background": False},
        {"arg": 1, "data": 2},
        {"uniq": "a", "unique": "b"},
        {"high_priority": True, "priority": "LOW"},
        {"wait_until_complete": "never"},
    ],
)
def test_a_background_task_that_cannot_be_meant_is_refused(client, kwargs):
    with pytest.raises(TypeError):
        client.dispatch_background_task("tests.app.note", **kwargs)


def test_a_low_priority_waits_behind(memory, client, ran):
    client.submit_job("tests.app.note", "low", priority=PRIORITY_LOW, background=True)
    client.submit_job("tests.app.note", "normal", background=True)
    client.dispatch_background_task("tests.app.note", "high", high_priority=True)

    work_off()

    assert ran == ["high", "normal", "low"]


@pytest.mark.parametrize("high", ["c", 1])
def test_a_high_priority_is_true_or_false(client, high):
    with pytest.raises(TypeError, match="high_priority"):
        client.dispatch_background_task("tests.app.note", "a", "b", high)


# Servers and threads


def test_making_a_client_connects_to_nothing(settings, production):
    settings.GEARMAN_BACKEND = "gearman"
    client = GearmanClient(host_list=[f"127.0.0.1:{free_port()}"])

    with pytest.raises(ServerUnavailable, match="GEARMAN_SERVERS"):
        client.submit_job("tests.app.echo", 1)


@pytest.mark.parametrize("hosts", ["127.0.0.1:4730", [], ["127.0.0.1:port"], [5], [("h",)]])
def test_wrong_hosts_are_refused_at_once(hosts):
    with pytest.raises(InvalidBackend, match="host_list"):
        GearmanClient(host_list=hosts)


def test_threads_share_a_client(settings, memory, client):
    worker = GearmanWorker()
    thread = threading.Thread(target=worker.work)
    thread.start()
    results: dict[int, int] = {}

    def submit(number: int) -> None:
        results[number] = client.submit_job("tests.app.echo", number, poll_timeout=20).result

    threads = [threading.Thread(target=submit, args=[number]) for number in range(20)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    worker.stop()
    thread.join()

    assert results == {number: number for number in range(20)}


def test_settings_are_read_when_used(client):
    with override_settings(GEARMAN_BACKEND="memory", GEARMAN_OPTIONS={"name": "read-when-used"}):
        request = client.submit_job("tests.app.echo", 1, wait_until_complete=False)
        assert not request.complete
    assert client.submit_job("tests.app.echo", 1).complete


# Signals


def test_a_signal_tells_of_each_submission(client):
    messages = []

    def receiver(sender, request, **kwargs):
        messages.append((sender, request))

    job_submitted.connect(receiver)
    try:
        request = client.submit_job("tests.app.echo", 1)
    finally:
        job_submitted.disconnect(receiver)

    assert messages == [(jobs.echo, request)]


def test_a_failing_receiver_changes_nothing(client, caplog):
    def receiver(**kwargs):
        raise RuntimeError("receiver")

    job_submitted.connect(receiver)
    try:
        assert client.submit_job("tests.app.echo", 1).result == 1
    finally:
        job_submitted.disconnect(receiver)
    assert "receiver" in caplog.text


@pytest.mark.gearmand
def test_retries_bridge_a_restart_of_the_server(settings, own_gearmand, client):
    settings.GEARMAN_BACKEND, settings.GEARMAN_SERVERS = "gearman", [own_gearmand.address]
    client.submit_job("tests.app.note", 1, background=True)
    own_gearmand.kill()
    starter = threading.Timer(0.3, own_gearmand.start)
    starter.start()

    request = client.submit_job("tests.app.note", 2, background=True, max_retries=20)

    starter.join()
    assert request.state == JOB_CREATED
    wait_until(lambda: own_gearmand.totals()["tests.app.note"][0] == 1, "the job is queued")
