"""Names that other programs give themselves, their functions and their jobs."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from django.core.management import call_command

from django_gearman.backends.base import WorkComplete
from django_gearman.backends.connection import Connection
from django_gearman.backends.gearmand.backend import GearmandBackend
from django_gearman.protocol.address import ServerAddress
from django_gearman.protocol.packets import PacketType, encode
from tests.support.gearmand import Gearmand

FUNCTION = b"two\nlines\xff"


@pytest.fixture
def odd(own_gearmand: Gearmand) -> Iterator[Connection]:
    """A worker of another program, with unusual names."""
    worker = Connection(ServerAddress.parse(own_gearmand.address))
    worker.send(
        encode(PacketType.SET_CLIENT_ID, b"evil\n\x1b[31m\xff : f"),
        encode(PacketType.CAN_DO, FUNCTION),
        encode(PacketType.CAN_DO, b"plain"),
    )
    worker.echo(20)
    yield worker
    worker.close()


@pytest.mark.gearmand
@pytest.mark.parametrize("backend", ["gearman", "python-gearman"])
def test_odd_names_can_be_listed(odd, own_gearmand, settings, backend):
    if backend == "python-gearman":
        pytest.importorskip("gearman")
    settings.GEARMAN_BACKEND = backend
    settings.GEARMAN_SERVERS = [own_gearmand.address]
    output = io.StringIO()

    call_command("gearman_status", stdout=output)

    lines = output.getvalue().splitlines()
    assert any(" two\\nlines\ufffd " in line for line in lines)
    assert any(" plain " in line for line in lines)
    assert any(line.startswith("evil\\n\\x1b[31m\ufffd : f ") for line in lines)


@pytest.mark.gearmand
@pytest.mark.parametrize("unique", [b"\xff\xfe", b"two\nlines", b"\x1b[31m", b""])
def test_a_job_with_an_odd_unique_runs(own_gearmand, unique):
    client = Connection(ServerAddress.parse(own_gearmand.address))
    client.send(encode(PacketType.SUBMIT_JOB, b"plain", unique, b"work"))
    session = GearmandBackend([ServerAddress.parse(own_gearmand.address)]).register(["plain"])
    job = session.grab_job(20)
    session.send(job, WorkComplete(b"done"))
    while (packet := client.receive(20)).type is not PacketType.WORK_COMPLETE:
        pass

    assert packet.args[1] == b"done"
    assert job.background is None
    session.close()
    client.close()
