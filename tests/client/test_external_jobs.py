"""Jobs of other programs, as these programs get them."""

from __future__ import annotations

import datetime
import time
import uuid
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from django_gearman import GearmanClient
from django_gearman.backends.connection import Connection
from django_gearman.exceptions import SerializationError
from django_gearman.protocol.address import ServerAddress
from django_gearman.protocol.packets import Packet, PacketType, encode
from django_gearman.serializers import Call, get_serializer

Worker = Callable[..., Connection]


@pytest.fixture
def name() -> str:
    return f"php.{uuid.uuid4().hex}"


@pytest.fixture
def client(settings, gearmand) -> GearmanClient:
    settings.GEARMAN_BACKEND = "gearman"
    settings.GEARMAN_SERVERS = [gearmand.address]
    settings.GEARMAN_EXTERNAL_JOBS = ["php.*"]
    return GearmanClient()


@pytest.fixture
def serve(gearmand) -> Iterator[Worker]:
    """A worker as other programs have them: it knows the plain name of its function."""
    opened = []

    def make(function: str) -> Connection:
        connection = Connection(ServerAddress.parse(gearmand.address))
        connection.send(encode(PacketType.CAN_DO, function.encode()))
        opened.append(connection)
        return connection

    yield make
    for connection in opened:
        connection.close()


def grab(worker: Connection, seconds: float = 20) -> Packet:
    """Ask until there is a job, because gearmand 1.1 wakes no worker for a delayed one."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        worker.send(encode(PacketType.GRAB_JOB_UNIQ))
        packet = worker.receive(20)
        if packet is not None and packet.type is PacketType.JOB_ASSIGN_UNIQ:
            return packet
        time.sleep(0.05)
    raise AssertionError("no job came")


# How their arguments travel


@pytest.mark.parametrize(
    ("submission", "workload"),
    [
        ({"data": "hello"}, b'"hello"'),
        ({"data": 0}, b"0"),
        ({"data": None}, b"null"),
        ({"data": {"width": 3}}, b'{"width":3}'),
        ({"data": {"args": 3}}, b'{"args":3}'),
        ({"args": [[1, 2]]}, b"[1,2]"),
        ({}, b'{"args":[],"kwargs":{}}'),
        ({"args": [1, 2]}, b'{"args":[1,2],"kwargs":{}}'),
        ({"kwargs": {"width": 3}}, b'{"args":[],"kwargs":{"width":3}}'),
        (
            {"data": {"args": [], "kwargs": {}}},
            b'{"args":[{"args":[],"kwargs":{}}],"kwargs":{}}',
        ),
    ],
)
@pytest.mark.gearmand
def test_a_single_argument_is_plain_json(client, serve, name, submission, workload):
    client.submit_job(name, background=True, **submission)

    assert grab(serve(name)).args[-1] == workload


@pytest.mark.parametrize("value", ["hello", {"args": [], "kwargs": {}}, [Decimal(1)], None, {}])
def test_a_worker_of_ours_understands_it(value: Any):
    serializer = get_serializer("json")

    assert serializer.loads_call(serializer.dumps_external(Call([value]))) == Call([value])


@pytest.mark.gearmand
def test_the_context_needs_an_envelope(client, serve, name, settings):
    settings.GEARMAN_CONTEXT_PROVIDER = lambda: {"request": "7"}
    client.submit_job(name, "hello", background=True)
    client.submit_job(name, args=[1, 2], background=True)
    worker = serve(name)

    assert [grab(worker).args[-1] for _ in range(2)] == [
        b'"hello"',
        b'{"args":[1,2],"kwargs":{},"context":{"request":"7"}}',
    ]


@pytest.mark.gearmand
def test_an_empty_workload_can_be_waited_for(client, serve, name):
    raw = client.using(serializer="raw")
    request = raw.submit_job(name, b"", wait_until_complete=False)
    worker = serve(name)
    job = grab(worker)
    worker.send(encode(PacketType.WORK_COMPLETE, job.args[0], b""))

    assert job.args[-1] == b""
    assert request.wait().result == b""
    with pytest.raises(SerializationError, match="workload is empty"):
        raw.submit_job(name, b"", background=True)


# Delayed ones


@pytest.mark.gearmand
def test_a_delayed_job_reaches_its_worker(client, serve, name, gearmand):
    worker = serve(name)
    raw = client.using(serializer="raw")
    raw.submit_job(name, b"at once", background=True)
    later = raw.using(run_after=datetime.timedelta(seconds=1))
    request = later.submit_job(name, b"later", background=True)

    assert client.get_job_status(request).status["known"]
    assert gearmand.ask("status").splitlines().count(f"{name}\t2\t0\t1") == 1
    assert f"{name}@delayed" not in gearmand.ask("status")
    assert [grab(worker).args[-1] for _ in range(2)] == [b"at once", b"later"]


@pytest.mark.gearmand
def test_a_delayed_job_of_ours_keeps_out_of_the_way_of_others(client, gearmand):
    client.using(run_after=datetime.timedelta(hours=1)).submit_job(
        "tests.app.echo", 1, background=True
    )

    assert "tests.app.echo@delayed\t1" in gearmand.ask("status")
