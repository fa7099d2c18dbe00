"""Jobs of other programs: gearmand knows if a client waits for one."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest

from django_gearman.backends.base import JobSpec, WorkerSession, WorkFail
from django_gearman.backends.connection import Connection
from django_gearman.backends.gearmand.backend import GearmandBackend
from django_gearman.protocol.address import ServerAddress
from django_gearman.protocol.names import from_wire_unique, is_old_background, wire_unique
from django_gearman.protocol.packets import PacketType, encode
from tests.support.fake_server import FakeServer, Peer

FOREGROUND, BACKGROUND = PacketType.SUBMIT_JOB, PacketType.SUBMIT_JOB_BG


@pytest.fixture
def function() -> str:
    return uuid.uuid4().hex


@pytest.fixture
def connect(gearmand) -> Iterator[Callable[[], Connection]]:
    opened = []

    def make() -> Connection:
        opened.append(Connection(ServerAddress.parse(gearmand.address)))
        return opened[-1]

    yield make
    for connection in opened:
        connection.close()


@pytest.fixture
def worker_of(gearmand) -> Iterator[Callable[..., WorkerSession]]:
    sessions = []

    def make(*functions: str) -> WorkerSession:
        backend = GearmandBackend([ServerAddress.parse(gearmand.address)])
        sessions.append(backend.register(functions))
        return sessions[-1]

    yield make
    for session in sessions:
        session.close()


def submit(client: Connection, kind: PacketType, function: str, unique: bytes) -> None:
    client.send(encode(kind, function.encode(), unique, b"work"))
    packet = client.receive(20)
    assert packet is not None
    assert packet.type is PacketType.JOB_CREATED


@pytest.mark.gearmand
@pytest.mark.parametrize(
    "unique", [b"42", b"b:42", b"f:42", b"b:" + b"0123456789abcdef" * 2, b"x" * 63, "ü ".encode()]
)
@pytest.mark.parametrize(("kind", "expected"), [(FOREGROUND, True), (BACKGROUND, False)])
def test_the_server_tells(connect, worker_of, function, kind, expected, unique):
    submit(connect(), kind, function, unique)
    session = worker_of(function)
    job = session.grab_job(20)

    assert (job.unique.encode(), job.background) == (unique, None)
    assert session.is_awaited(job) is expected


@pytest.mark.gearmand
@pytest.mark.parametrize("unique", [b"", b"-", b"\xff\xfe"])
def test_it_cannot_tell_of_a_job_without_a_name(connect, worker_of, function, unique):
    submit(connect(), BACKGROUND, function, unique)
    session = worker_of(function)

    assert session.is_awaited(session.grab_job(20)) is None


@pytest.mark.gearmand
@pytest.mark.parametrize("order", [1, -1])
def test_another_function_with_this_unique_is_another_job(connect, worker_of, function, order):
    jobs = [(FOREGROUND, function), (BACKGROUND, f"{function}.other")]
    unique = function.encode()
    for kind, name in jobs[::order]:
        submit(connect(), kind, name, unique)
    session = worker_of(function)

    assert session.is_awaited(session.grab_job(20)) is not False


@pytest.mark.gearmand
def test_it_is_asked_while_other_jobs_arrive(connect, worker_of, function):
    client = connect()
    for number in range(3):
        submit(client, BACKGROUND, function, b"%d" % number)
    session = worker_of(function)
    session.prefetch = 3
    jobs = []
    for _ in range(3):
        jobs.append(session.grab_job(20))
        assert session.is_awaited(jobs[-1]) is False
        session.send(jobs[-1], WorkFail())

    assert sorted(job.unique for job in jobs) == ["0", "1", "2"]


@pytest.mark.gearmand
def test_a_job_that_is_not_current_any_more(connect, worker_of, function):
    submit(connect(), BACKGROUND, function, b"42")
    session = worker_of(function)
    job = session.grab_job(20)
    session.give_back(job)

    assert session.is_awaited(job) is None


@pytest.mark.parametrize("answers", [True, False], ids=["refuses", "is silent"])
def test_a_server_that_cannot_tell(answers: bool):
    def serve(peer: Peer) -> None:
        peer.handshake()
        peer.expect(PacketType.GRAB_JOB_UNIQ)
        peer.reply(PacketType.JOB_ASSIGN_UNIQ, b"H:fake:1", b"f", b"42", b"work")
        peer.expect(PacketType.GET_STATUS_UNIQUE)
        if answers:
            peer.reply(PacketType.ERROR, b"UNKNOWN_COMMAND", b"what?")
        peer.wait_for_end()

    with FakeServer(serve) as server:
        address = ServerAddress("127.0.0.1", server.port)
        session = GearmandBackend([address], reply_timeout=0.5).register(["f"])
        assert session.is_awaited(session.grab_job(20)) is not False
        session.close()


# What is on the wire


def spec(background: bool, unique: str = "") -> JobSpec:
    return JobSpec("f", b"", unique=unique, background=background)


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("unique", ["ada", "a" * 58, "b:42", "f:dj:", "ä"])
def test_our_uniques_come_back(background, unique):
    assert from_wire_unique(wire_unique(spec(background, unique))) == (unique, background)


@pytest.mark.parametrize("unique", ["a" * 59, "ü" * 30, "new\nline", "a\0b"])
def test_others_are_digests(unique):
    on_the_wire = wire_unique(spec(True, unique))

    assert len(on_the_wire) <= 63
    assert from_wire_unique(on_the_wire) == from_wire_unique(wire_unique(spec(True, unique)))


@pytest.mark.parametrize("background", [True, False])
def test_workers_of_the_version_before_know_which_is_which(background):
    assert wire_unique(spec(background))[:2] == (b"b:" if background else b"f:")


@pytest.mark.parametrize(
    ("unique", "expected"),
    [("b:" + "0af9" * 8, True), ("f:" + "0af9" * 8, False), ("b:42", False), ("0af9" * 8, False)],
)
def test_a_transport_that_cannot_ask_knows_the_generated_uniques_of_older_clients(unique, expected):
    assert is_old_background(unique) is expected
