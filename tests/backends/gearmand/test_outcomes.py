"""How a job ends for its client: lost, cancelled, or run by a worker in another language."""

from __future__ import annotations

import socket
import uuid

import pytest

from django_gearman.backends.base import (
    JobSpec,
    WorkComplete,
    WorkData,
    WorkException,
    WorkFail,
    WorkStatus,
)
from django_gearman.exceptions import JobLost
from django_gearman.protocol.packets import Packet, PacketReader, PacketType, encode
from tests.support.fake_server import PATIENCE, FakeServer, Peer
from tests.support.gearmand import Gearmand, wait_until
from tests.support.transport import grab, outcome, submit

pytestmark = pytest.mark.gearmand

# Jobs that gearmand loses


def test_a_job_that_gearmand_lost_is_reported_to_who_waits(open_backend, worker_of, gearmand):
    """A client joins a queued job whose only client leaves: gearmand drops it without a word."""
    function = uuid.uuid4().hex
    spec = JobSpec(function, b"work", unique="poisoned")
    first = open_backend(gearmand.address)
    handle = submit(first, spec)[0].handle.partition("//")[2]
    first.close()
    marked = f"{handle}\t0\t1\t0\n"
    wait_until(lambda: marked in gearmand.ask("show jobs"), "gearmand marks the job")
    [submission] = submit(open_backend(gearmand.address, status_interval=0.1), spec)

    assert worker_of(function, gearmand.address).grab_job(0.3) is None
    for _ in range(2):  # and again
        with pytest.raises(JobLost, match=submission.handle):
            list(submission.updates(PATIENCE))


def test_a_job_that_waits_long_is_not_taken_for_lost(open_backend, worker_of, gearmand):
    function = uuid.uuid4().hex
    backend = open_backend(gearmand.address, status_interval=0.02)
    [submission] = submit(backend, JobSpec(function, b"work"))
    worker = worker_of(function, gearmand.address)

    assert submission.next_update(0.2) is None
    job = grab(worker)
    assert submission.next_update(0.2) is None
    worker.send(job, WorkComplete(b"done"))

    assert outcome(submission) == WorkComplete(b"done")


def test_late_updates_of_a_cancelled_job_are_ignored(open_backend, worker_of, gearmand):
    function = uuid.uuid4().hex
    backend, worker = open_backend(gearmand.address), worker_of(function, gearmand.address)
    [cancelled] = submit(backend, JobSpec(function, b"cancelled"))
    job = grab(worker)
    gearmand.ask(f"cancel job {job.handle.partition('//')[2]}")
    assert outcome(cancelled) == WorkFail()

    worker.send(job, WorkData(b"late"))
    worker.send(job, WorkComplete(b"later"))
    [other] = submit(backend, JobSpec(function, b"other"))
    job = grab(worker)
    worker.send(job, WorkComplete(b"done"))

    assert list(other.updates(PATIENCE)) == [WorkComplete(b"done")]
    assert cancelled.next_update(0) is None


# Other languages


def raw_worker(server: Gearmand, function: str) -> tuple[socket.socket, Packet]:
    """Grab a job as a foreign worker would."""
    connection = socket.create_connection(("127.0.0.1", server.port), PATIENCE)
    connection.sendall(
        encode(PacketType.CAN_DO, function.encode()) + encode(PacketType.GRAB_JOB_UNIQ)
    )
    reader = PacketReader()
    while not (packets := reader.feed(connection.recv(65536))):
        pass
    return connection, packets[0]


def test_the_exception_of_a_foreign_worker_is_understood(open_backend, gearmand):
    function = uuid.uuid4().hex
    [submission] = submit(open_backend(gearmand.address), JobSpec(function, b"work"))

    connection, assigned = raw_worker(gearmand, function)
    with connection:
        connection.sendall(encode(PacketType.WORK_EXCEPTION, assigned.args[0], b"oops\0\xff"))
        assert outcome(submission) == WorkException(b"oops\0\xff")


@pytest.mark.parametrize(("said", "read"), [(b"abc", 0), (b"7", 7), (b"9" * 30, 0), (b"-1", 0)])
def test_progress_that_is_not_a_number_counts_as_none(open_backend, gearmand, said, read):
    function = uuid.uuid4().hex
    [submission] = submit(open_backend(gearmand.address), JobSpec(function, b"work"))

    connection, assigned = raw_worker(gearmand, function)
    with connection:
        connection.sendall(encode(PacketType.WORK_STATUS, assigned.args[0], said, b"10"))
        assert submission.next_update(PATIENCE) == WorkStatus(read, 10)


def test_the_nul_that_gearmand_leaves_behind_a_handle_is_stripped(open_backend):
    def serve(peer: Peer) -> None:
        peer.handshake()
        peer.acknowledge(1)
        peer.reply(PacketType.WORK_FAIL, b"H:fake:1\0")
        peer.wait_for_end()

    with FakeServer(serve) as server:
        backend = open_backend(server.address)
        assert outcome(*submit(backend, JobSpec("f", b"work"))) == WorkFail()
        backend.close()
