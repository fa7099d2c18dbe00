from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command

from django_gearman import GearmanClient
from django_gearman.exceptions import JobFailed
from django_gearman.protocol.packets import PacketType
from django_gearman.testing.gearmand import free_port
from tests.app.gearman_jobs import note, send
from tests.support.gearmand import wait_until
from tests.support.job_server import JobServerProcess, Wire

pytestmark = pytest.mark.gearmand

BACKGROUND = PacketType.SUBMIT_JOB_BG
NOTE = b"tests.app.note"


def run(*arguments: str) -> str:
    output = io.StringIO()
    call_command("gearman_purge", *arguments, stdout=output)
    return output.getvalue()


@pytest.fixture(params=["gearmand", "included"])
def port(request) -> Iterator[int]:
    """The port of a private server."""
    if request.param == "gearmand":
        yield request.getfixturevalue("own_gearmand").port
        return
    with JobServerProcess() as server:
        yield server.port


@pytest.fixture
def wire(port, settings) -> Iterator[Callable[[], Wire]]:
    """Connect to the server, which is that of the settings."""
    settings.GEARMAN_BACKEND = "gearman"
    settings.GEARMAN_SERVERS = [f"127.0.0.1:{port}"]
    settings.GEARMAN_EXTERNAL_JOBS = ["php.*"]
    wires: list[Wire] = []

    def connect() -> Wire:
        wires.append(Wire(port))
        return wires[-1]

    yield connect
    for each in wires:
        each.close()


def totals(wire: Wire) -> dict[str, list[int]]:
    """Return (total, running, workers) of each function that has jobs."""
    rows = [line.split("\t") for line in wire.ask("status").splitlines() if line != "."]
    return {name: [int(n) for n in numbers] for name, *numbers in rows if numbers[0] != "0"}


def test_queued_jobs_are_dropped_and_others_stay(wire):
    server = wire()
    for number in range(5):
        server.submit(NOTE, b"%d" % number, kind=BACKGROUND)
    server.submit(b"send-mail", b"w", kind=BACKGROUND)

    output = run("tests.app.note", "--yes")

    assert "Dropped 5 jobs of tests.app.note." in output
    assert totals(server) == {"send-mail": [1, 0, 0]}


def test_jobs_of_each_priority_are_dropped(wire):
    server = wire()
    for kind in (PacketType.SUBMIT_JOB_HIGH_BG, BACKGROUND, PacketType.SUBMIT_JOB_LOW_BG):
        server.submit(NOTE, b"w", kind=kind)

    assert "Dropped 3 jobs" in run("tests.app.note", "--yes")
    assert totals(server) == {}


def test_a_running_job_continues(wire):
    server, worker = wire(), wire()
    server.submit(NOTE, b"running")
    worker.can_do(NOTE)
    running = worker.grab()
    server.submit(NOTE, b"queued", kind=BACKGROUND)

    assert "Dropped 1 job of tests.app.note." in run("tests.app.note", "--yes")
    worker.send(PacketType.WORK_COMPLETE, running[0], b"result")

    assert server.expect(PacketType.WORK_COMPLETE)[1] == b"result"


def test_clients_that_wait_get_a_failure(wire):
    server = wire()
    caught = []

    def wait() -> None:
        try:
            GearmanClient().submit_job("tests.app.note", 1, poll_timeout=60).result  # noqa: B018
        except JobFailed as error:
            caught.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    wait_until(lambda: "tests.app.note" in totals(server), "the job is queued")

    run("tests.app.note", "--yes")
    waiting.join(30)

    assert not waiting.is_alive()
    assert "gearman_purge has dropped this job from the queue" in str(caught[0])


def test_clients_in_other_languages_get_a_failure(wire):
    server = wire()
    handle = server.submit(NOTE, b"w")

    run("tests.app.note", "--yes")

    assert server.expect(PacketType.WORK_WARNING)[0] == handle
    assert server.expect(PacketType.WORK_FAIL) == (handle,)


def test_delayed_jobs_are_dropped_if_the_server_can(wire, request):
    server = wire()
    note.using(run_after=timedelta(hours=1)).do_background(1)
    note.do_background(2)

    if "gearmand" in request.node.callspec.id:
        with pytest.raises(CommandError, match=r"not dropped: 1 job of tests\.app\.note.*delayed"):
            run("tests.app.note", "--yes")
        assert totals(server) == {"tests.app.note@delayed": [1, 0, 0]}
    else:
        assert "Dropped 2 jobs of tests.app.note." in run("tests.app.note", "--yes")
        assert totals(server) == {}


def test_many_jobs_are_dropped_in_seconds(wire):
    server = wire()
    for _ in range(3000):
        server.send(BACKGROUND, NOTE, b"", b"w")
    for _ in range(3000):
        server.expect(PacketType.JOB_CREATED)

    assert "Dropped 3000 jobs" in run("tests.app.note", "--yes")
    assert totals(server) == {}


def test_nothing_to_drop_is_not_an_error(wire):
    wire().submit(b"send-mail", b"w", kind=BACKGROUND)

    assert run("tests.app.note", "--yes") == "No job waits, so there is nothing to drop.\n"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["send-mial"], r"no job or function is named 'send-mial'; did you mean .*'send-mail'"),
        (["shop.revers", "no"], "no job or function is named 'no'"),
        ([""], "no job or function is named ''"),
        (["\x1b[2J\n"], r"named '\\x1b\[2J\\n'"),
        (["x" * 5000], "no job or function is named 'x"),
        ([], "name a job or function, or use --unknown"),
    ],
)
def test_a_name_that_does_not_exist_is_refused(wire, names, message):
    server = wire()
    server.submit(b"shop.revers", b"w", kind=BACKGROUND)

    with pytest.raises(CommandError, match=f"{message}.*Nothing was dropped"):
        run(*names, "--yes")

    assert totals(server) == {"shop.revers": [1, 0, 0]}


def test_a_job_is_named_by_its_name_or_by_its_function(wire, settings):
    settings.GEARMAN_JOB_NAME = "prefix.{name}"
    server = wire()
    for name in ("send-mail", "prefix.send-mail"):
        send.do_background("ada@example.com")
        assert list(totals(server)) == ["prefix.send-mail"]
        assert "Dropped 1 job of prefix.send-mail." in run(name, "--yes")


def test_unknown_functions_are_neither_declared_nor_served_nor_external(wire):
    server, worker = wire(), wire()
    worker.can_do(b"other.served")
    worker.echo()
    for function in (NOTE, b"other.served", b"php.scale", b"shop.revers", b"shop.old"):
        server.submit(function, b"w", kind=BACKGROUND)

    output = run("--unknown", "--yes")

    assert "Dropped 1 job of shop.revers." in output
    assert "Dropped 1 job of shop.old." in output
    assert set(totals(server)) == {"tests.app.note", "other.served", "php.scale"}


def test_a_name_that_the_server_does_not_show_as_it_is_stays(wire):
    server = wire()
    server.submit(b"\xff", b"w", kind=BACKGROUND)

    with pytest.raises(CommandError, match=r"not dropped: 1 job of .*does not show"):
        run("--unknown", "--yes")


def test_without_a_terminal_it_does_not_ask(wire, monkeypatch):
    server = wire()
    server.submit(NOTE, b"w", kind=BACKGROUND)
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))

    with pytest.raises(CommandError, match="Nothing was dropped; add --yes"):
        run("tests.app.note")

    assert totals(server) == {"tests.app.note": [1, 0, 0]}


def test_the_other_servers_are_purged_when_one_is_down(wire, settings):
    server = wire()
    server.submit(NOTE, b"w", kind=BACKGROUND)
    settings.GEARMAN_SERVERS = [*settings.GEARMAN_SERVERS, f"127.0.0.1:{free_port()}"]
    output = io.StringIO()

    with pytest.raises(CommandError, match="refused"):
        call_command("gearman_purge", "tests.app.note", "--yes", stdout=output)

    assert "Dropped 1 job of tests.app.note." in output.getvalue()
    assert totals(server) == {}


def test_a_server_that_is_down_is_an_error(settings, production):
    settings.GEARMAN_BACKEND = "gearman"
    settings.GEARMAN_SERVERS = [f"127.0.0.1:{free_port()}"]

    with pytest.raises(CommandError, match="refused"):
        run("tests.app.note", "--yes")


def test_dropped_jobs_of_a_store_stay_dropped(settings, tmp_path):
    settings.GEARMAN_BACKEND = "gearman"
    store = f"--store={tmp_path / 'jobs.db'}"
    with JobServerProcess(store) as server:
        settings.GEARMAN_SERVERS = [server.address]
        for seconds in (0, 3600):
            note.using(run_after=timedelta(seconds=seconds)).do_background(1)
        run("tests.app.note", "--yes")
        server.stop()

    with JobServerProcess(store) as server:
        assert "(0 found there)" in server.greeting
