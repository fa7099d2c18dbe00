from __future__ import annotations

import io
import json
from contextlib import closing
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from django_gearman import GearmanClient, GearmanWorker
from django_gearman.backends.connection import Connection
from django_gearman.exceptions import ServerUnavailable
from django_gearman.jobs.registry import registry
from django_gearman.management.servers import ServerState, rows_of
from django_gearman.management.status import screen, trouble
from django_gearman.management.tables import width_of
from django_gearman.protocol.address import ServerAddress
from django_gearman.protocol.messages import FunctionStatus, ServerAnswer, WorkerStatus
from django_gearman.protocol.packets import PacketType, encode, to_bytes
from django_gearman.testing.gearmand import free_port
from tests.app.gearman_jobs import note
from tests.support.fake_server import FakeServer

ANSWER = ServerAnswer(0.0002, "gearmand 1.1.20")
JOBS = {job.name: job for job in registry.jobs() if job.name.startswith(("send-", "tests.app."))}


def run(*arguments: str) -> str:
    output = io.StringIO()
    call_command("gearman_status", *arguments, stdout=output)
    return output.getvalue()


def function(name: str, total=0, running=0, workers=0, delayed=0) -> FunctionStatus:
    return FunctionStatus("s:1", name, total, running, workers, delayed)


def worker(client_id: str, *functions: str) -> WorkerStatus:
    return WorkerStatus("s:1", "10.0.0.9", client_id, functions)


def state(*functions: FunctionStatus, workers=(), server="s:1", error=None) -> ServerState:
    return ServerState(ServerAddress.parse(server), ANSWER, functions, workers, error)


def show(*states: ServerState, width: int | None = 80) -> list[str]:
    rows = rows_of(states, JOBS)
    return [line.text for line in screen(states, rows, JOBS, width)]


def cells(lines: list[str], name: str) -> list[str]:
    """Return the words of the line about a function."""
    return next(line.split() for line in lines if name in line.split())


# The screen


def test_jobs_are_shown_by_queue_with_their_numbers():
    everything = [worker("vm/1/all", *JOBS)]
    lines = show(
        state(
            function("send-mail", total=6, running=1, workers=2, delayed=2),
            function("tests.app.note", workers=1),
            workers=everything,
        )
    )

    assert lines[0].split("  ") == ["s:1", "up", "gearmand 1.1.20", "1 worker, 3 queued, 1 running"]
    assert lines[1].split() == ["QUEUE", "JOB", "queued", "delayed", "running", "workers"]
    assert cells(lines, "send-mail") == ["mail", "send-mail", "3", "2", "1", "2"]
    assert cells(lines, "tests.app.note") == ["default", "tests.app.note", "0", "0", "0", "1"]


def test_jobs_without_a_worker_come_first_and_are_marked(settings):
    settings.GEARMAN_EXTERNAL_JOBS = []
    states = [
        state(
            function("send-mail", total=1, workers=1),
            function("shop.revers", total=2),
            function("tests.app.note", total=3, delayed=3),
            function("php.scale", total=9, workers=1),
        )
    ]
    lines = show(*states)

    assert [line.split()[:3] for line in lines[2:6]] == [
        ["!", "default", "tests.app.note"],
        ["!", "unknown", "shop.revers"],
        ["mail", "send-mail", "1"],
        ["unknown", "php.scale", "9"],
    ]
    message, code = trouble(states, rows_of(states, JOBS))
    assert code == 2
    assert "tests.app.note (3), shop.revers (2, not of this project)" in message
    assert "gearman_purge" in message


def test_running_jobs_without_other_workers_are_not_trouble():
    states = [state(function("send-mail", total=1, running=1))]

    assert trouble(states, rows_of(states, JOBS)) == ("", 0)


def test_functions_of_external_jobs_belong_to_the_project(settings):
    settings.GEARMAN_EXTERNAL_JOBS = ["php.*"]

    lines = show(state(function("php.scale", workers=1), function("perl.scale", workers=1)))

    assert cells(lines, "php.scale")[0] == "external"
    assert cells(lines, "perl.scale")[0] == "unknown"


def test_idle_functions_of_other_programs_are_only_counted():
    lines = show(state(function("old.a"), function("old.b"), function("send-mail")))

    assert not [line for line in lines if "old.a" in line]
    assert "(2 idle functions of other programs)" in lines


def test_an_empty_server_does_not_look_broken():
    lines = show(state())

    assert lines == [
        "s:1  up  gearmand 1.1.20  0 workers, 0 queued, 0 running",
        "No worker is connected. Start one: python manage.py gearman_worker",
    ]


def test_queues_without_a_worker_are_named():
    lines = show(
        state(function("send-mail", workers=1), workers=[worker("vm/1/mail", "send-mail")])
    )

    assert lines[-1].startswith("No worker serves queue default")


def test_a_server_that_is_down_is_marked_and_comes_before_jobs():
    states = [
        state(function("shop.revers", total=1)),
        state(server="s:2", error=ServerUnavailable("job server s:2: Connection refused")),
    ]
    lines = show(*states)

    assert "s:2  DOWN" in lines
    message, code = trouble(states, rows_of(states, JOBS))
    assert code == 1
    assert message == "1 of 2 job servers is down: job server s:2: Connection refused"


def test_if_every_server_is_down_nothing_else_is_shown():
    assert show(state(error=ServerUnavailable("no"))) == ["s:1  DOWN"]


def test_numbers_of_several_servers_are_added_and_workers_are_not():
    near = function("send-mail", total=3, running=1, workers=2)
    far = FunctionStatus("s:2", "send-mail", 4, 1, 2)
    lines = show(state(near), state(far, server="s:2"))

    assert cells(lines, "send-mail") == ["mail", "send-mail", "5", "0", "2", "2"]


def test_jobs_that_wait_at_a_server_without_workers_are_found():
    far = FunctionStatus("s:2", "send-mail", 4, 0, 0)
    states = [state(function("send-mail", workers=2)), state(far, server="s:2")]

    assert show(*states)[3].split()[:3] == ["!", "mail", "send-mail"]
    assert "send-mail (4 at s:2)" in trouble(states, rows_of(states, JOBS))[0]


def test_worker_processes_with_the_same_queues_share_a_line():
    workers = [worker(f"vm/{n}/mail", "send-mail") for n in range(9, 59)]
    workers += [worker("db/7/mail", "send-mail"), worker("-", "php.scale")]
    lines = show(state(function("send-mail", workers=51), workers=workers))

    [place] = [n for n, line in enumerate(lines) if line.startswith("WORKERS")]
    assert [line.split() for line in lines[place + 1 : place + 4]] == [
        ["-", "10.0.0.9", "php.scale"],
        ["db", "7", "mail"],
        ["vm", "50:", "9,", "10,", "11,", "..", "mail"],
    ]
    assert "52 workers" in lines[0]


def test_many_idle_jobs_are_one_line_on_a_terminal_and_all_in_a_pipe(monkeypatch):
    names = [f"send-{n}" for n in range(300)]
    monkeypatch.setattr(
        "tests.management.test_status.JOBS", dict.fromkeys(names, JOBS["send-mail"])
    )
    everything = state(*(function(name, workers=1) for name in names))

    assert any("(300 idle jobs)" in line for line in show(everything))
    assert len(show(everything)) < 10
    assert len(show(everything, width=None)) > 300


def test_many_functions_without_a_worker_are_cut_on_a_terminal_and_all_in_a_pipe():
    everything = state(*(function(f"old.{n:03}", total=n) for n in range(1, 301)))

    lines = show(everything)
    message, _ = trouble([everything], rows_of([everything], JOBS))

    assert cells(lines, "old.300")[:4] == ["!", "unknown", "old.300", "300"], "the most jobs first"
    assert "!  (280 more functions without a worker; --json has all)" in lines
    assert len(lines) < 30
    assert len(show(everything, width=None)) > 300
    assert "old.296 (296, not of this project), 295 other functions. " in message


def test_many_idle_functions_of_other_programs_are_one_line_on_a_terminal(settings):
    settings.GEARMAN_EXTERNAL_JOBS = []
    everything = state(*(function(f"php.{n}", workers=2) for n in range(300)))

    assert any(line.split()[:3] == ["unknown", "(300", "idle"] for line in show(everything))


@pytest.mark.parametrize("width", [1, 20, 40, 80, 200])
def test_no_line_is_wider_than_the_terminal(width):
    names = ["größe.画像" * 10, "x" * 255, "a\nb\x1b[2J\x07", "\udcff", "-"]
    lines = show(
        state(
            *(function(name, total=10**6, running=1) for name in names),
            workers=[worker(f"{name}/1/q", *names) for name in names],
        ),
        width=width,
    )

    assert max(map(width_of, lines)) <= max(width, 4)


# The command


@pytest.fixture
def server(settings, own_gearmand):
    settings.GEARMAN_BACKEND = "gearman"
    settings.GEARMAN_SERVERS = [own_gearmand.address]
    GearmanClient().submit_job("tests.app.note", 1, background=True)
    GearmanClient().submit_job("send-mail", "ada", background=True)
    GearmanWorker(["mail"], clean_connections=False).work(burst=True)
    return own_gearmand


@pytest.mark.gearmand
def test_waiting_jobs_without_a_worker_are_an_error(server):
    output = io.StringIO()

    with pytest.raises(CommandError, match=r"no worker serves.* tests\.app\.note \(1\)") as caught:
        call_command("gearman_status", stdout=output)

    assert caught.value.returncode == 2
    lines = output.getvalue().splitlines()
    assert lines[0].startswith(f"{server.address}  up  gearmand ")
    assert cells(lines, "tests.app.note") == [
        *("!", "default", "tests.app.note"),
        *("1", "0", "0", "0"),
    ]
    assert cells(lines, "send-mail")[-4:] == ["0", "0", "0", "0"]


@pytest.mark.gearmand
def test_a_healthy_server_is_not_an_error(settings, own_gearmand):
    settings.GEARMAN_BACKEND = "gearman"
    settings.GEARMAN_SERVERS = [own_gearmand.address]

    assert run().splitlines()[1] == (
        "No worker is connected. Start one: python manage.py gearman_worker"
    )


@pytest.mark.gearmand
@pytest.mark.parametrize("backend", ["gearman", "python-gearman"])
def test_delayed_jobs_are_apart(server, settings, backend):
    note.using(run_after=timedelta(hours=1)).do_background(2)
    settings.GEARMAN_BACKEND = backend
    output = io.StringIO()

    with pytest.raises(CommandError, match=r"tests\.app\.note \(2\)"):
        call_command("gearman_status", stdout=output)

    lines = output.getvalue().splitlines()
    assert cells(lines, "tests.app.note")[3:] == ["1", "1", "0", "0"]


@pytest.mark.gearmand
def test_status_is_reported_as_json(server):
    output = io.StringIO()
    with pytest.raises(CommandError):
        call_command("gearman_status", "--json", stdout=output)
    [report] = json.loads(output.getvalue())["servers"]

    assert (report["server"], report["error"]) == (server.address, None)
    assert report["software"].startswith("gearmand ")
    assert 0 < report["seconds"] < 5
    rows = {row["function"]: row for row in report["functions"]}
    assert rows["tests.app.note"] == {
        "function": "tests.app.note",
        "job": "tests.app.note",
        "queue": "default",
        "queued": 1,
        "delayed": 0,
        "running": 0,
        "workers": 0,
        "unserved": True,
        "paused": False,
    }
    assert rows["send-mail"]["unserved"] is False


@pytest.mark.gearmand
def test_status_shows_the_others_when_one_server_is_down(server, settings):
    down = f"127.0.0.1:{free_port()}"
    settings.GEARMAN_SERVERS = [down, server.address]
    output = io.StringIO()

    with pytest.raises(CommandError, match=f"{down}.*refused") as caught:
        call_command("gearman_status", stdout=output)

    assert caught.value.returncode == 1
    assert f"{down}  DOWN" in " ".join(output.getvalue().split(" "))
    assert "tests.app.note" in output.getvalue()


def test_a_server_that_hangs_is_down_after_the_timeout(settings, production):
    with FakeServer(lambda peer: peer.read()) as server:
        settings.GEARMAN_BACKEND = "gearman"
        settings.GEARMAN_SERVERS = [server.address]

        with pytest.raises(CommandError, match="1 of 1 job server is down"):
            run("--timeout", "0.3")


def test_status_needs_a_server():
    with pytest.raises(CommandError, match="no job server to ask"):
        run()


@pytest.mark.parametrize("seconds", ["0", "-1", "abc", "inf", "nan"])
@pytest.mark.parametrize("option", ["--watch", "--timeout"])
def test_an_interval_is_a_number_above_0(option, seconds):
    with pytest.raises(CommandError, match="number"):
        run(f"{option}={seconds}")


# gearman_health


@pytest.mark.gearmand
def test_health_tells_how_soon_a_server_answers(settings, own_gearmand):
    settings.GEARMAN_BACKEND = "gearman"
    settings.GEARMAN_SERVERS = [own_gearmand.address]
    text, data = io.StringIO(), io.StringIO()

    call_command("gearman_health", stdout=text)
    call_command("gearman_health", "--json", stdout=data)

    start = f"1 of 1 job servers answer: {own_gearmand.address} in "
    assert text.getvalue().startswith(start)
    assert float(text.getvalue().removeprefix(start).removesuffix(" ms\n")) > 0
    [report] = json.loads(data.getvalue())["servers"]
    assert report["error"] is None
    assert report["software"].startswith("gearmand ")


def test_health_in_json_tells_which_server_is_down(settings, production):
    settings.GEARMAN_BACKEND = "gearman"
    settings.GEARMAN_SERVERS = [f"127.0.0.1:{free_port()}"]
    output = io.StringIO()

    with pytest.raises(CommandError, match="0 of 1 job servers answer"):
        call_command("gearman_health", "--json", stdout=output)

    [report] = json.loads(output.getvalue())["servers"]
    assert "refused" in report["error"]
    assert report["seconds"] is None


# Unchecked names

HOSTILE = [
    "a\nb",
    "a\n.\nb",
    "x\n99 10.0.0.1 forged : f",
    "\x1b[2J\x9b31m\x07\x08\r",
    "\udcff\udcfe",
    "\u202e\u2028\u2029\x85",
    " ",
    "a : b",
    "x" * 127,
]


@pytest.mark.gearmand
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
@pytest.mark.parametrize("name", HOSTILE)
def test_status_shows_any_name(server, name, encoding):
    # A function's name that looks like a worker's line is shown as a worker: nothing tells them apart.
    function = f"{'' if 'forged' in name else name}-function-ä"
    with closing(Connection(ServerAddress.parse(server.address))) as hostile:
        hostile.send(encode(PacketType.SET_CLIENT_ID, to_bytes(name)))
        hostile.send(encode(PacketType.CAN_DO, to_bytes(function)))
        hostile.echo(10)
        written = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        data = io.StringIO()

        with pytest.raises(CommandError):
            call_command("gearman_status", stdout=written)
        with pytest.raises(CommandError):
            call_command("gearman_status", "--json", stdout=data)
        [report] = json.loads(data.getvalue())["servers"]

    written.seek(0)
    text = written.read()
    assert "tests.app.note" in text
    assert "-function-" in text
    assert text.replace("\n", "").isprintable()
    assert not [line for line in text.splitlines() if line.lstrip().startswith("forged")]
    assert report["error"] is None
    assert len(report["workers"]) == 1


def test_an_error_of_a_server_is_one_line(settings, production):
    def serve(peer):
        peer.read()
        peer.raw(b"HTTP/1.1 400\r\n\x1b[2J\nforged\r\n")

    with FakeServer(serve) as server:
        settings.GEARMAN_BACKEND = "gearman"
        settings.GEARMAN_SERVERS = [server.address]
        for command in ("gearman_status", "gearman_health"):
            with pytest.raises(CommandError) as caught:
                call_command(command, stdout=io.StringIO())
            assert str(caught.value).isprintable()
