"""Errors from workers in other languages."""

from __future__ import annotations

import re
import struct
import uuid

import pytest

from django_gearman import GearmanClient
from django_gearman.backends.connection import Connection
from django_gearman.exceptions import JobFailed, JobRaised
from django_gearman.protocol.address import ServerAddress
from django_gearman.protocol.packets import PacketType, encode
from django_gearman.serializers.foreign import text_of

LONG = "died " * 100


@pytest.mark.parametrize(
    ("reported", "text"),
    [
        (b"no paper", "no paper"),
        (b"no paper\n\0", "no paper"),
        ("schön".encode(), "schön"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"one\ntwo", "one\ntwo"),
        (b"\x1b[31mred", "\\x1b[31mred"),
        (b"", ""),
        # as Perl's Storable writes them: freeze and nfreeze, short and long, bytes and text
        (b"\x05\x0b\n\x05oops\n", "oops"),
        (b"\x04\x0b\x0812345678\x04\x08\x08\x08\n\x05oops\n", "oops"),
        (b"\x05\x0b\x17\x07sch\xc3\xb6n\n", "schön"),
        (b"\x05\x0b\x01" + struct.pack(">I", 500) + LONG.encode(), LONG.strip()),
        (b"\x05\x0b", "\\x05"),
        (b"\x05\x0b\n\x20short", "\\x05\\x0b\n short"),
    ],
)
def test_it_is_shown_as_text(reported, text):
    assert text_of(reported) == text


def test_a_flood_of_it_is_cut():
    assert len(text_of(b"x" * 10_000_000)) < 50_000


# Over a job server


@pytest.fixture
def outcome_of(settings, gearmand):
    """End a job with these packets, as a worker in another language; return the request."""
    settings.GEARMAN_BACKEND = "gearman"
    settings.GEARMAN_SERVERS = [gearmand.address]
    settings.GEARMAN_EXTERNAL_JOBS = ["php.*"]
    worker = Connection(ServerAddress.parse(gearmand.address))

    def run(*packets: tuple[PacketType, bytes] | PacketType):
        name = f"php.{uuid.uuid4().hex}"
        request = GearmanClient().submit_job(name, 1, wait_until_complete=False)
        worker.send(encode(PacketType.CAN_DO, name.encode()), encode(PacketType.GRAB_JOB))
        handle = worker.receive(20).args[0]
        for packet in packets:
            kind, *arguments = packet if isinstance(packet, tuple) else (packet,)
            worker.send(encode(kind, handle, *arguments))
        return request.wait(20)

    yield run
    worker.close()


FAIL = PacketType.WORK_FAIL
WARNING, STATUS = PacketType.WORK_WARNING, PacketType.WORK_STATUS


@pytest.mark.gearmand
@pytest.mark.parametrize(
    ("packets", "reported"),
    [
        ([(WARNING, b"no paper"), FAIL], "failed: no paper"),
        ([(WARNING, b'"no \\u0070aper"'), FAIL], "failed: no paper"),
        ([(WARNING, b'{"code":7}'), FAIL], 'failed: {"code":7}'),
        ([(WARNING, b"first"), (WARNING, b"\xffsecond\x07\n"), FAIL], "failed: \ufffdsecond\\x07"),
        ([(WARNING, b"early"), (STATUS, b"1", b"2"), FAIL], "failed; its worker gave no reason"),
        ([(WARNING, b""), FAIL], "failed; its worker gave no reason"),
        ([FAIL], "failed; its worker gave no reason"),
    ],
)
def test_a_warning_just_before_the_failure_is_its_reason(outcome_of, packets, reported):
    request = outcome_of(*packets)

    with pytest.raises(JobFailed, match=rf"{re.escape(reported)}$") as caught:
        print(request.result)
    assert not isinstance(caught.value, JobRaised)
    assert len(request.warning_updates) == sum(packet != FAIL for packet in packets) - any(
        packet[0] is STATUS for packet in packets if packet is not FAIL
    )


@pytest.mark.gearmand
def test_an_exception_of_perl_is_read(outcome_of):
    request = outcome_of((PacketType.WORK_EXCEPTION, b"\x05\x0b\n\x05oops\n"))

    with pytest.raises(JobRaised) as caught:
        print(request.result)
    assert caught.value.message == "oops"
