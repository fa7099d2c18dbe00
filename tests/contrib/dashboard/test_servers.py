"""The job servers' state for the pages."""

from __future__ import annotations

import time
from contextlib import ExitStack

import pytest

from django_gearman.management.asking import Counts, ForeignWorker, Servers, ask_servers
from django_gearman.protocol.admin import parse_priorities
from django_gearman.testing.gearmand import free_port
from tests.contrib.dashboard.servers import answering, hanging
from tests.contrib.gearman_jobs import double

DOUBLE = "tests.contrib.double"


@pytest.mark.gearmand
def test_jobs_are_counted_by_priority_over_all_servers(use, own_gearmand, db):
    use(own_gearmand.address)
    for priority in ("HIGH", None, None, "LOW"):
        double.using(priority=priority).do_background(1)

    servers = ask_servers(10)

    [state] = servers.states
    assert state.error == ""
    assert state.software.startswith("gearmand ")
    assert state.queued == 4
    assert servers.functions()[DOUBLE] == Counts(high=1, normal=2, low=1, is_stranded=True)


def test_counts_of_several_servers_are_added_and_workers_are_the_same(use):
    one = answering({b"status": b"f\t5\t1\t3\nf@delayed\t2\t0\t1\n.\n", b"version": b"OK 1\n"})
    other = answering({b"status": b"f\t2\t0\t2\n.\n", b"version": b"OK 1\n"})
    with one, other:
        use(one.address, other.address)

        found = ask_servers(10).functions()

    assert found == {"f": Counts(normal=6, delayed=2, running=1, workers=3)}


@pytest.mark.parametrize(
    ("status", "is_stranded"),
    [
        (b"f\t1\t1\t1\nf@delayed\t2\t0\t0\n", False),
        (b"f@delayed\t2\t0\t0\n", True),
        (b"f\t1\t0\t0\n", True),
        (b"f\t1\t1\t0\n", False),
    ],
)
def test_jobs_are_stranded_if_no_worker_serves_their_function(use, status, is_stranded):
    with answering({b"status": status + b".\n", b"version": b"OK 1\n"}) as server:
        use(server.address)

        found = ask_servers(10).functions()

    assert found["f"].is_stranded == is_stranded


def test_workers_are_asked_for_if_they_are_wanted(use):
    lines = b"33 10.0.0.7 shop/1/abc : f g\n-1 10.0.0.8 - :\n.\n"
    answers = {b"status": b".\n", b"version": b"OK 1\n", b"workers": lines}
    with answering(answers) as server:
        use(server.address)

        [without], [state] = ask_servers(10).states, ask_servers(10, workers=True).states

    assert without.workers == []
    assert state.workers == [ForeignWorker("10.0.0.7", "shop/1/abc", ("f", "g"))]


def test_a_server_that_does_not_know_priorities_has_them_all_in_the_middle(use):
    with answering({b"status": b"f\t5\t1\t3\n.\n", b"version": b"OK 0.14\n"}) as server:
        use(server.address)

        [state] = ask_servers(10).states

    assert state.error == ""
    assert state.functions == {"f": Counts(normal=4, running=1, workers=3)}


def test_servers_that_are_down_or_hang_are_named_and_cost_their_time_once(use):
    down = f"127.0.0.1:{free_port()}"
    with ExitStack() as stack:
        first, *others = [stack.enter_context(hanging()) for _ in range(6)]
        answers = {b"status": b"f\t1\t0\t1\n.\n", b"version": b"OK 1\n"}
        well = stack.enter_context(answering(answers))
        hang = [server.address for server in others]
        use(first.address, down, *hang, well.address)
        began = time.monotonic()

        servers = ask_servers(5.0)
        took = time.monotonic() - began

    failed = [state.address for state in servers.states if state.error]
    assert failed == [first.address, down, *hang]
    for state in servers.states[:-1]:
        assert state.address in state.error
    assert servers.functions() == {"f": Counts(normal=1, workers=1)}
    assert took < 20, f"six that hang cost {took:.1f} s: they were asked one after another"


def test_there_is_no_server_to_ask_if_jobs_run_at_once(settings):
    settings.GEARMAN_BACKEND = "eager"

    assert ask_servers() == Servers(
        problem="GEARMAN_BACKEND is 'eager': jobs run in the process that submits them, "
        "and there is no job server to ask."
    )


@pytest.mark.parametrize("servers", [[], "host:port", [None], 7])
def test_wrong_settings_are_a_problem_and_no_error(settings, servers):
    settings.GEARMAN_BACKEND = "gearman"
    settings.GEARMAN_SERVERS = servers

    assert "GEARMAN_SERVERS" in ask_servers().problem


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (".\n", {}),
        ("", {}),
        ("f\t1\t2\t3\t4\n.\n", {"f": (1, 2, 3)}),
        ("a b\tc\t1\t2\t3\t4\n", {"a b\tc": (1, 2, 3)}),
        ("ERR UNKNOWN_COMMAND Unknown+server+command\r\n", {}),
        ("ERR x\t1\t2\t3\t4\n", {"ERR x": (1, 2, 3)}),
    ],
)
def test_priorities_are_parsed(answer, found):
    assert parse_priorities(answer.removesuffix(".\n")) == found
