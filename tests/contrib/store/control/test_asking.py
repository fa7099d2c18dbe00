"""Questions to supervisors where there are none, or where they hang."""

from __future__ import annotations

import os
import signal
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import NamedTuple

import pytest
import trustme

from django_gearman.backends import use_backend
from django_gearman.backends.base import JobSpec, WorkComplete
from django_gearman.contrib.store import control
from django_gearman.contrib.store.control import messages, service
from django_gearman.supervisor import Attendant
from django_gearman.testing.gearmand import free_port
from tests.support.fake_server import FakeServer, tls_proxy
from tests.support.gearmand import Gearmand, wait_until


@pytest.mark.parametrize("backend", ["memory", "eager"])
def test_without_a_job_server_the_answer_says_so(settings, production, backend):
    settings.GEARMAN_BACKEND = backend

    found = control.list_supervisors()

    [problem] = found.problems
    assert found.supervisors == ()
    assert f"GEARMAN_BACKEND is '{backend}'" in problem
    assert "no supervisor to ask" in problem
    with pytest.raises(control.ControlError, match="no supervisor to ask"):
        control.stack("app:1", 1)
    with pytest.raises(control.ControlError, match="no supervisor to ask"):
        control.reload("app:1")


def test_each_server_that_is_down_or_hangs_is_named_and_costs_the_timeout_once(
    settings, production
):
    down = f"127.0.0.1:{free_port()}"
    with (
        FakeServer(lambda peer: peer.wait_for_end()) as silent,
        FakeServer(lambda peer: peer.wait_for_end()) as other,
    ):
        settings.GEARMAN_BACKEND = "gearman"
        settings.GEARMAN_SERVERS = [silent.address, down, other.address]
        began = time.monotonic()

        found = control.list_supervisors(4.0)

        took = time.monotonic() - began
    assert found.supervisors == ()
    assert len(found.problems) == 3
    for address in (silent.address, down, other.address):
        assert sum(address in problem for problem in found.problems) == 1
    assert took < 7.5, "one timeout for all, on a busy machine"


@pytest.mark.parametrize("timeout", [0, -1, "1", None, float("nan"), float("inf"), True])
def test_a_timeout_is_a_number_of_seconds(settings, production, timeout):
    settings.GEARMAN_BACKEND = "gearman"

    with pytest.raises((TypeError, ValueError), match="timeout"):
        control.list_supervisors(timeout)


class Served(NamedTuple):
    """`start` returns the name of the supervisor."""

    start: Callable[[], str]
    stop: Callable[[], object]


@pytest.fixture
def served(settings, production) -> Iterator[Served]:
    """Serve the control function of a supervisor in a thread, until `stop` or the end of the test."""
    with ExitStack() as stack:

        def serve() -> str:
            attendant, answers = Attendant([], None), service.Control()
            thread = threading.Thread(target=answers.turn, args=[attendant])
            thread.start()

            def stop() -> None:
                attendant._stopping.set()
                answers.wake()
                thread.join()
                attendant._wake.close()
                attendant._written.close()

            stack.callback(stop)
            return f"{messages.host_name()}:{attendant.parent}"

        yield Served(serve, stack.close)


def names(timeout: float = 20.0) -> list[str]:
    return [each.name for each in control.list_supervisors(timeout).supervisors]


@pytest.mark.gearmand
def test_a_supervisor_is_asked_over_tls(settings, served, own_gearmand, tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with tls_proxy(context, own_gearmand.port) as proxy:
        tls = {"cafile": str(tmp_path / "ca.pem")}
        settings.GEARMAN_BACKEND = "gearman"
        settings.GEARMAN_SERVERS = [{"host": "127.0.0.1", "port": proxy.port, "tls": tls}]
        name = served.start()

        wait_until(lambda: names() == [name], "the supervisor over TLS")
        served.stop()


@pytest.mark.gearmand
@pytest.mark.parametrize("backend", ["gearman", "python-gearman"])
def test_a_supervisor_at_several_servers_answers_once(settings, served, own_gearmand, backend):
    with Gearmand() as second:
        settings.GEARMAN_BACKEND = backend
        settings.GEARMAN_SERVERS = [own_gearmand.address, second.address]
        name = served.start()

        wait_until(lambda: names() == [name], "the supervisor")
        for address in (own_gearmand.address, second.address):
            settings.GEARMAN_SERVERS = [address]
            wait_until(lambda: names() == [name], f"the supervisor at {address}")


@pytest.mark.gearmand
def test_a_server_that_hangs_does_not_delay_another(settings, served, own_gearmand):
    with Gearmand() as second:
        settings.GEARMAN_BACKEND = "gearman"
        both = settings.GEARMAN_SERVERS = [second.address, own_gearmand.address]
        name = served.start()
        wait_until(lambda: names() == [name], "the supervisor")
        for address in both:
            settings.GEARMAN_SERVERS = [address]
            wait_until(lambda: names() == [name], f"the supervisor at {address}")
        settings.GEARMAN_SERVERS = [own_gearmand.address, second.address]
        pid = int(own_gearmand.ask("getpid").split()[1])
        os.kill(pid, signal.SIGSTOP)

        answers = control.list_supervisors(2)

        os.kill(pid, signal.SIGCONT)
        served.stop()
    assert [each.name for each in answers.supervisors] == [name]
    [problem] = answers.problems
    assert own_gearmand.address in problem


@pytest.mark.gearmand
def test_projects_at_one_server_are_kept_apart(settings, served, own_gearmand, caplog):
    settings.GEARMAN_BACKEND, settings.GEARMAN_SERVERS = "gearman", [own_gearmand.address]
    settings.GEARMAN_JOB_NAME = "shop.{name}"
    name = served.start()
    wait_until(lambda: names() == [name], "the supervisor")

    settings.GEARMAN_JOB_NAME = None
    assert control.list_supervisors(20) == control.Answers(), "its prefix is another one"

    settings.GEARMAN_JOB_NAME = "shop.{name}"
    sent = messages.ask(messages.function_of(name), "list")
    settings.SECRET_KEY = "of another project"  # here this is that of both sides from now on
    [refused] = use_backend().submit([JobSpec(messages.function_of(name), sent.message)])
    outcome = refused.next_update(20)
    assert outcome.data.startswith(b"refused: the message is not signed with the SECRET_KEY of")
    assert "a control message was refused: the message is not signed" in caplog.text


@pytest.mark.gearmand
@pytest.mark.parametrize(
    "rubbish",
    [b"", b"\x00\xff" * 50, b"refused: \x1b[2J", b"{}", b"x" * 1_000_000, b"eyJhIjoxfQ:x:y"],
)
def test_a_false_supervisor_is_detected(settings, production, own_gearmand, rubbish):
    settings.GEARMAN_BACKEND, settings.GEARMAN_SERVERS = "gearman", [own_gearmand.address]
    function = messages.function_of("<b>evil</b>:1")
    session = use_backend().register([function], "evil")
    stopping = threading.Event()

    def answer() -> None:
        while not stopping.is_set():
            if (job := session.grab_job(0.05)) is not None:
                session.send(job, WorkComplete(rubbish))

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        found = wait_until(
            lambda: (each := control.list_supervisors(20)).problems and each, "the answer"
        )
    finally:
        stopping.set()
        thread.join()
        session.close()

    [problem] = found.problems
    assert found.supervisors == ()
    assert problem.isprintable()
    assert problem.startswith("supervisor <b>evil</b>:1: ")
    assert len(problem) < 500
