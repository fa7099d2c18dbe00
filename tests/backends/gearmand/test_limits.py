"""Many jobs, many connections, and the options that set times."""

from __future__ import annotations

import os
import uuid

import pytest

from django_gearman.backends.base import JobSpec
from django_gearman.backends.gearmand.backend import GearmandBackend
from django_gearman.exceptions import ConnectionLost, InvalidBackend
from django_gearman.protocol.address import ServerAddress
from tests.support.fake_server import PATIENCE, FakeServer, Peer
from tests.support.gearmand import wait_until
from tests.support.transport import background, submit

pytestmark = pytest.mark.gearmand

# Sizes


def test_a_hundred_thousand_jobs_go_in_one_submit(open_backend, own_gearmand):
    backend = open_backend(own_gearmand.address, submit_timeout=300)

    submissions = submit(backend, *[background("f", b"%d" % n) for n in range(100_000)])

    assert len({s.handle for s in submissions}) == 100_000
    assert own_gearmand.totals()["f"][0] == 100_000


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_no_descriptor_is_left_behind_by_200_connections(open_backend, worker_of, gearmand):
    def serve(peer: Peer) -> None:
        peer.handshake()
        peer.acknowledge(1)

    function = uuid.uuid4().hex
    with FakeServer(serve) as server:
        reopening, breaking = open_backend(gearmand.address), open_backend(server.address)
        kept = []
        before = descriptors()
        for _ in range(200):
            kept += submit(reopening, background(function))
            reopening.close()
            kept += breaking.submit([JobSpec(function, b"work")])
            with pytest.raises(ConnectionLost):
                kept[-1].next_update(PATIENCE)
        for _ in range(20):
            worker = worker_of(function, gearmand.address)
            assert worker.grab_job(PATIENCE)
            worker.close()
            reopening.functions()

        wait_until(lambda: descriptors() <= before + 4, "the descriptors are closed")


# Options


@pytest.mark.parametrize(
    "options", [{"connect_timeout": "5"}, {"reply_timeout": None}, {"down_time": 0}], ids=repr
)
def test_options_that_are_not_seconds_are_refused(options):
    with pytest.raises(InvalidBackend, match=next(iter(options))):
        GearmandBackend([ServerAddress("localhost")], **options)


def test_very_long_options_are_not_errors(open_backend, gearmand):
    forever = dict.fromkeys(
        ("connect_timeout", "send_timeout", "reply_timeout", "status_interval"), 1e8
    )
    backend = open_backend(gearmand.address, **forever)
    [submission] = submit(backend, JobSpec(uuid.uuid4().hex, b"work"))

    assert submission.next_update(0.05) is None
    assert backend.functions()
