from __future__ import annotations

import io
import json
from contextlib import closing

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from django_gearman import GearmanClient, GearmanWorker
from django_gearman.backends.connection import Connection
from django_gearman.management.commands import gearman_worker
from django_gearman.protocol.address import ServerAddress
from django_gearman.protocol.packets import PacketType, encode, to_bytes
from django_gearman.testing.gearmand import free_port
from tests.support.fake_server import FakeServer


def run(*arguments: str) -> str:
    output = io.StringIO()
    call_command(*arguments, stdout=output)
    return output.getvalue()


# gearman_worker


@pytest.mark.parametrize("backend", ["eager", "memory"])
def test_a_worker_process_needs_a_server(settings, backend):
    settings.GEARMAN_BACKEND = backend
    with pytest.raises(CommandError, match=rf"GEARMAN_BACKEND is '{backend}'.*'gearman'"):
        run("gearman_worker")


@pytest.mark.parametrize("number", ["0", "-3", "abc", "1.5", ""])
def test_a_number_of_processes_is_one_or_more(number):
    with pytest.raises(CommandError, match="not a whole number above 0"):
        run("gearman_worker", f"-w{number}" if number else "--workers=")


@pytest.mark.parametrize(
    ("servers", "options", "reason"),
    [
        (["10.0.0.1:4730", "127.0.0.1:4730"], [], "is 10.0.0.1:4730, which is not an address"),
        (["jobs.example.org"], ["--check"], "is jobs.example.org:4730, which is not an address"),
        ([{"host": "localhost", "tls": {}}], [], "over TLS, which a server on this machine"),
        (["127.0.0.1:1"], ["--store", "jobs.db", "--workers=0"], "not a whole number above 0"),
        ([], [], "GEARMAN_SERVERS is empty"),
    ],
)
def test_a_server_that_cannot_be_is_refused(settings, servers, options, reason):
    settings.GEARMAN_BACKEND = "gearman"
    settings.GEARMAN_SERVERS = servers
    with pytest.raises(CommandError, match=reason):
        run("gearman_worker", "--with-server", *options)


def test_a_store_is_for_a_server(settings):
    settings.GEARMAN_BACKEND = "gearman"
    with pytest.raises(CommandError, match="--store is for the server that --with-server runs"):
        run("gearman_worker", "--store", "jobs.db")


def test_an_unknown_queue_is_refused_with_those_there_are(settings):
    settings.GEARMAN_BACKEND = "gearman"
    with pytest.raises(CommandError, match=r"'nope'; the queues are .*mail"):
        run("gearman_worker", "-q", "nope")


def test_wrong_settings_are_an_error_before_anything_starts(settings):
    settings.GEARMAN_BACKEND = "gearman"
    settings.GEARMAN_SERVERS = "127.0.0.1:4730"
    with pytest.raises(CommandError, match="must be a list"):
        run("gearman_worker")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-q", "mail:0"], "1 process or more"),
        (["-q", "mail:0"], "N must be at least 1"),
        (["-q", "mail:x"], "-q mail:x: 'x' is not a number of processes, like mail:2"),
        (["-q", "mail:-1"], "'-1' is not a number of processes"),
        (["-q", "mail:"], "'' is not a number of processes"),
        (["-q", "*:x"], "'x' is not a number of processes"),
        (["-q", "nope:x"], "no job is in queue 'nope:x'"),
        (["-q", ":3"], "no job is in queue ''"),
        (["-w", "3", "-q", "mail:2"], "-w 3 cannot be combined with -q mail:2"),
        (["-w", "3", "-q", "mail:2"], "number of processes of its own"),
        (["--grace-period", "0"], "not a number above 0"),
        (["--max-memory", "abc"], "not a number above 0"),
        (["--max-jobs", "1.5"], "not a whole number above 0"),
        (["--prefetch", "many"], "'many' is neither a whole number nor 'auto'"),
        (["--prefetch", "1.5"], "'1.5' is neither a whole number nor 'auto'"),
        (["--prefetch", "-1"], "expected 'auto' or a number from 0, got -1"),
        (["--grace-period", "-1"], "'-1' is not a number above 0"),
        (["--grace-period", "inf"], "'inf' is not a finite number"),
        (["--max-memory", "nan"], "'nan' is not a number above 0"),
        (["--max-lifetime", "1e999"], "'1e999' is not a finite number"),
        (["--max-jobs", "-1"], "'-1' is not a whole number above 0"),
        (["--workers", "9" * 5000], "is not a whole number above 0"),
        (["--log-format", "xml"], "invalid choice"),
        (["--health-file", "/no/such/directory/file"], "cannot be written to"),
    ],
)
def test_arguments_that_cannot_be_meant_are_refused(settings, arguments, message):
    settings.GEARMAN_BACKEND = "gearman"
    with pytest.raises(CommandError, match=message):
        run("gearman_worker", *arguments)


# gearman_status


@pytest.fixture
def server(settings, own_gearmand):
    settings.GEARMAN_BACKEND = "gearman"
    settings.GEARMAN_SERVERS = [own_gearmand.address]
    GearmanClient().submit_job("tests.app.note", 1, background=True)
    GearmanClient().submit_job("send-mail", "ada", background=True)
    GearmanWorker(["mail"], clean_connections=False).work(burst=True)
    return own_gearmand


@pytest.mark.gearmand
def test_status_shows_functions_and_workers(server):
    lines = [line.split() for line in run("gearman_status").splitlines()]

    assert lines[0] == [f"{server.address}:"]
    assert lines[1] == ["function", "queued", "running", "workers"]
    assert ["tests.app.note", "1", "0", "0"] in lines
    assert ["send-mail", "0", "0", "0"] in lines


@pytest.mark.gearmand
def test_status_is_reported_as_json(server):
    [report] = json.loads(run("gearman_status", "--json"))["servers"]

    assert (report["server"], report["error"]) == (server.address, None)
    rows = {row["function"]: row for row in report["functions"]}
    assert rows["tests.app.note"] == {
        "function": "tests.app.note",
        "queued": 1,
        "running": 0,
        "workers": 0,
    }


@pytest.mark.gearmand
def test_status_shows_the_others_when_one_server_is_down(server, settings):
    down = f"127.0.0.1:{free_port()}"
    settings.GEARMAN_SERVERS = [down, server.address]
    output = io.StringIO()

    with pytest.raises(CommandError, match=f"{down}.*refused"):
        call_command("gearman_status", stdout=output)

    assert f"{down}: DOWN" in output.getvalue()
    assert "tests.app.note" in output.getvalue()


def test_status_needs_a_server():
    with pytest.raises(CommandError, match="no job server to ask"):
        run("gearman_status")


# gearman_example_client


def test_the_example_runs_without_a_server(capfd):
    output = run("gearman_example_client")

    assert "the result is '.god yzal eht revo spmuj xof nworb kciuq ehT'" in output
    assert "3 of 4" in output
    assert "ZeroDivisionError: division by zero" in output
    assert capfd.readouterr().out.count("counts 3") == 4


def test_the_example_runs_with_workers_in_threads(settings, capfd):
    settings.GEARMAN_BACKEND, settings.GEARMAN_OPTIONS = "memory", {"name": "example"}

    assert "4 fences painted" in run("gearman_example_client", "--workers", "2")
    assert capfd.readouterr().out.count("counts 3") == 4


def test_the_example_says_when_the_server_is_down(settings, production):
    settings.GEARMAN_BACKEND = "gearman"
    settings.GEARMAN_SERVERS = [f"127.0.0.1:{free_port()}"]
    with pytest.raises(CommandError, match=r"'python manage\.py gearman_server' starts one"):
        run("gearman_example_client")


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

        call_command("gearman_status", stdout=written)
        [report] = json.loads(run("gearman_status", "--json"))["servers"]

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
                run(command)
            assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("queues", "lines"),
    [
        ([None], ["1 process serves all queues"]),
        ([None, None], ["2 processes serve all queues"]),
        ([["mail"]], ["1 process serves queue mail only"]),
        (
            [["mail", "default"], ["mail", "default"], ["slow"]],
            ["2 processes serve queues mail, default, shared", "1 process serves queue slow only"],
        ),
        (
            [["mail", "*"], ["slow"]],
            ["1 process serves all queues", "1 process serves queue slow only"],
        ),
    ],
)
def test_a_worker_tells_how_its_processes_share_the_queues(queues, lines):
    message = gearman_worker._layout([GearmanWorker(each) for each in queues])

    assert [line.strip() for line in message] == lines


def test_the_help_says_which_queues_share_processes():
    text = " ".join(
        gearman_worker.Command().create_parser("", "gearman_worker").format_help().split()
    )

    assert "the queues of plain -q options share the -w processes" in text
