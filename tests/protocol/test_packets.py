"""Gearman's protocol: bytes and packets, compared with each other and with gearmand's own bytes."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_gearman.exceptions import ProtocolError
from django_gearman.protocol import packets as packets_module
from django_gearman.protocol.packets import (
    ARGUMENTS,
    REQUEST,
    RESPONSE,
    Packet,
    PacketReader,
    PacketType,
    encode,
    frame,
    parse_head,
    to_bytes,
    to_text,
)

unhurried = settings(deadline=None)  # of a machine that does other things too

# Every byte but NUL in all arguments; NUL too in the last.
names = st.binary(max_size=20).map(lambda argument: argument.replace(b"\0", b"\xff"))


@st.composite
def packets(draw: st.DrawFn) -> Packet:
    kind = draw(st.sampled_from(PacketType))
    count = ARGUMENTS[kind]
    heads = [draw(names) for _ in range(count - 1)]
    return Packet(kind, (*heads, draw(st.binary(max_size=200))) if count else ())


def on_the_wire(sent: Iterable[Packet], magic: bytes = REQUEST) -> bytes:
    return b"".join(encode(packet.type, *packet.args, magic=magic) for packet in sent)


def read(chunks: Iterable[bytes], magic: bytes = REQUEST) -> list[Packet]:
    """Feed chunk by chunk, taking packets as soon as they are whole."""
    reader = PacketReader(magic)
    return [packet for chunk in chunks for packet in reader.feed(chunk)]


# Packets


@unhurried
@given(st.lists(packets(), max_size=8), st.sampled_from([REQUEST, RESPONSE]), st.data())
def test_packets_survive_however_the_stream_is_cut(sent, magic, data):
    stream = on_the_wire(sent, magic)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=20).map(sorted))

    chunks = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]

    assert read(chunks, magic) == sent


@unhurried
@given(st.lists(packets(), max_size=4))
def test_packets_survive_byte_by_byte(sent):
    stream = on_the_wire(sent)

    assert read(stream[i : i + 1] for i in range(len(stream))) == sent


def test_thousands_of_packets_come_out_of_one_chunk():
    sent = [Packet(PacketType.JOB_CREATED, (b"H:vm:%d" % n,)) for n in range(5000)]

    assert read([on_the_wire(sent)]) == sent


created = st.sampled_from([b"H:vm:1", b"H:vm:2", b"H:vm:10", b"", b"\0RES\0\0\0\x08", b"H\0i"]).map(
    lambda handle: Packet(PacketType.JOB_CREATED, (handle,))
)


@unhurried
@given(st.lists(created | created | created | packets(), max_size=40), st.data())
def test_packets_that_may_be_joined_have_the_arguments_of_each(sent, data):
    stream = on_the_wire(sent, RESPONSE)
    cut = data.draw(st.integers(0, len(stream)))
    reader = PacketReader(joined=PacketType.JOB_CREATED)

    found = [*reader.feed(stream[:cut]), *reader.feed(stream[cut:])]

    each = [
        single
        for kind, args in found
        for single in (
            [Packet(kind, (arg,)) for arg in args]
            if kind is PacketType.JOB_CREATED
            else [Packet(kind, args)]
        )
    ]
    assert each == sent


def test_thousands_of_packets_are_joined():
    sent = [Packet(PacketType.JOB_CREATED, (b"H:vm:%d" % n,)) for n in range(5000)]
    reader = PacketReader(joined=PacketType.JOB_CREATED)

    found = reader.feed(on_the_wire(sent, RESPONSE))

    assert len(found) <= 8, "one or two for each length of a handle"
    assert [arg for packet in found for arg in packet.args] == [b"H:vm:%d" % n for n in range(5000)]


def test_a_large_payload_in_small_pieces_is_joined_once():
    """Reading takes linear time: joining at every piece would copy 40 GB here."""
    payload = random.Random(1).randbytes(20_000_000)
    stream = encode(PacketType.WORK_COMPLETE, b"H:vm:1", payload)

    chunks = (stream[i : i + 10_000] for i in range(0, len(stream), 10_000))

    assert read(chunks) == [Packet(PacketType.WORK_COMPLETE, (b"H:vm:1", payload))]


def read_into(stream: bytes, sizes: Iterable[int], *, large: int) -> list[Packet]:
    """Read a stream as a socket gives it, into the room for packets that count as large here."""
    reader, taken, found = PacketReader(REQUEST), 0, []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packets_module, "_LARGE", large)
        patch.setattr(packets_module, "_SPARE", 64)
        for size in [*sizes, *[64] * len(stream)]:
            room = reader.room()
            data = stream[taken : taken + (size if room is None else min(size, len(room)))]
            taken += len(data)
            if room is None:
                found += reader.feed(data)
            else:
                room[: len(data)] = data
                found += reader.filled(len(data))
            if taken == len(stream):
                return found
    return found


@unhurried
@given(
    st.lists(packets(), max_size=8),
    st.lists(st.integers(1, 300), max_size=30),
    st.sampled_from([1, 20, 100]),
)
def test_large_packets_are_read_into_one_buffer(sent, sizes, large):
    assert read_into(on_the_wire(sent), sizes, large=large) == sent


def test_arguments_of_a_large_packet_are_bytes_and_the_rest_follows():
    workload = random.Random(1).randbytes(1_000_000)
    large = Packet(PacketType.JOB_ASSIGN_UNIQ, (b"H:vm:1", b"f", b"u", workload))
    sent = [large, Packet(PacketType.NOOP), large, Packet(PacketType.JOB_CREATED, (b"H:vm:2",))]

    found = read_into(on_the_wire(sent), [50_000] * 50, large=1 << 18)

    assert found == sent
    assert {type(argument) for packet in found for argument in packet.args} == {bytes}


@pytest.mark.parametrize("behind", [b"", b"HTTP/1.1 200 OK\r\n"])
def test_a_large_packet_with_too_few_arguments_is_reported(behind):
    damaged = frame(PacketType.WORK_COMPLETE, b"", b"x" * 1000)
    stream = b"".join(damaged) + behind

    with pytest.raises(ProtocolError, match="WORK_COMPLETE with 1 of its 2 arguments"):
        read_into(stream, [40] * 100, large=100)


def test_noise_behind_a_large_packet_waits_until_that_is_taken():
    large = Packet(PacketType.WORK_COMPLETE, (b"H:vm:1", b"x" * 1000))
    stream = on_the_wire([large]) + b"HTTP/1.1 200 OK\r\n"

    with pytest.raises(ProtocolError, match="not a Gearman packet"):
        read_into(stream + b"more noise", [40] * 24 + [80, 5], large=100)


@unhurried
@given(packets())
def test_the_reader_says_how_much_is_missing(packet):
    stream = encode(packet.type, *packet.args)
    reader = PacketReader(REQUEST)
    assert reader.missing == 12

    assert reader.feed(stream[:12]) == ([packet] if len(stream) == 12 else [])

    if len(stream) > 12:
        assert reader.missing == len(stream) - 12
        assert reader.feed(stream[12:]) == [packet]
    assert reader.missing == 12


def test_a_frame_is_the_packet_and_its_last_argument_is_not_copied():
    workload = bytes(1000)

    head, last = frame(PacketType.SUBMIT_JOB, b"f\0u\0", workload)

    assert head + last == encode(PacketType.SUBMIT_JOB, b"f", b"u", workload)
    assert last is workload


@pytest.mark.parametrize(
    ("encoded", "literal"),
    [
        (
            encode(PacketType.SUBMIT_JOB, b"f1", b"", b"x"),
            b"\0REQ\0\0\0\x07\0\0\0\x05f1\0\0x",
        ),
        (
            encode(PacketType.SUBMIT_JOB_LOW_BG, b"f1", b"u", b"a\0b"),
            b"\0REQ\0\0\0\x22\0\0\0\x08f1\0u\0a\0b",
        ),
        (
            encode(PacketType.SUBMIT_JOB_EPOCH, b"f1", b"u", b"1700000000", b"x"),
            b"\0REQ\0\0\0\x24\0\0\0\x11f1\0u\x001700000000\0x",
        ),
        (encode(PacketType.GRAB_JOB_UNIQ), b"\0REQ\0\0\0\x1e\0\0\0\0"),
        (encode(PacketType.PRE_SLEEP), b"\0REQ\0\0\0\x04\0\0\0\0"),
        (encode(PacketType.CAN_DO, b"f1"), b"\0REQ\0\0\0\x01\0\0\0\x02f1"),
        (
            encode(PacketType.OPTION_REQ, b"exceptions"),
            b"\0REQ\0\0\0\x1a\0\0\0\x0aexceptions",
        ),
        (
            encode(PacketType.WORK_COMPLETE, b"H:vm:1", b""),
            b"\0REQ\0\0\0\x0d\0\0\0\x07H:vm:1\0",
        ),
        (encode(PacketType.WORK_FAIL, b"H:vm:1"), b"\0REQ\0\0\0\x0e\0\0\0\x06H:vm:1"),
    ],
    ids=lambda value: None,
)
def test_packets_have_the_bytes_of_the_protocol(encoded, literal):
    assert encoded == literal


@pytest.mark.parametrize(
    ("literal", "packet"),
    [
        (
            b"\0RES\0\0\0\x08\0\0\0\x06H:vm:1",
            Packet(PacketType.JOB_CREATED, (b"H:vm:1",)),
        ),
        (b"\0RES\0\0\0\x06\0\0\0\0", Packet(PacketType.NOOP)),
        (b"\0RES\0\0\0\x0a\0\0\0\0", Packet(PacketType.NO_JOB)),
        (
            b"\0RES\0\0\0\x1f\0\0\0\x0dH:vm:2\0f1\0u\0x",
            Packet(PacketType.JOB_ASSIGN_UNIQ, (b"H:vm:2", b"f1", b"u", b"x")),
        ),
        (  # an empty result
            b"\0RES\0\0\0\x0d\0\0\0\x07H:vm:1\0",
            Packet(PacketType.WORK_COMPLETE, (b"H:vm:1", b"")),
        ),
        (  # made by gearmand of a WORK_EXCEPTION
            b"\0RES\0\0\0\x0e\0\0\0\x07H:vm:1\0",
            Packet(PacketType.WORK_FAIL, (b"H:vm:1\0",)),
        ),
        (
            b"\0RES\0\0\0\x14\0\0\0\x0fH:vm:1\x001\x001\x003\x0010",
            Packet(PacketType.STATUS_RES, (b"H:vm:1", b"1", b"1", b"3", b"10")),
        ),
        (
            b"\0RES\0\0\0\x13\0\0\0\x1dQUEUE_ERROR\0Job queue is full",
            Packet(PacketType.ERROR, (b"QUEUE_ERROR", b"Job queue is full")),
        ),
    ],
    ids=lambda value: value.type.name if isinstance(value, Packet) else None,
)
def test_packets_of_gearmand_are_understood(literal, packet):
    assert read([literal], RESPONSE) == [packet]


# What is no packet


@unhurried
@given(st.binary(min_size=12, max_size=60), st.data())
def test_noise_is_a_protocol_error_and_nothing_else(noise, data):
    cut = data.draw(st.integers(0, len(noise)))
    try:
        found = read([noise[:cut], noise[cut:]], RESPONSE)
    except ProtocolError:
        return
    assert not found or noise.startswith(RESPONSE), "noise was taken for a packet"


@unhurried
@given(st.lists(packets(), min_size=1, max_size=4), st.data())
def test_a_damaged_stream_is_a_protocol_error_and_nothing_else(sent, data):
    stream = bytearray(on_the_wire(sent))
    for _ in range(data.draw(st.integers(1, 4))):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ProtocolError):
        read([bytes(stream)])


@pytest.mark.parametrize(
    "noise",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\0REQ\0\0\0\x06\0\0\0\0",  # a request where an answer is due
        b"\0RES\0\0\0\0\0\0\0\0",
        b"\0RES\0\0\0\x2b\0\0\0\0",
        b"\0RES\xff\xff\xff\xff\0\0\0\0",
    ],
)
def test_wrong_magic_and_unknown_types_are_reported(noise):
    reader = PacketReader(source="the server")

    for data in (noise, b""):  # and stay wrong
        with pytest.raises(ProtocolError, match="the server: not a Gearman packet"):
            reader.feed(data)


@pytest.mark.parametrize(
    ("noise", "message"),
    [
        (b"x" * 12, "not a Gearman packet"),
        (encode(PacketType.WORK_COMPLETE, magic=RESPONSE), "1 of its 2 arguments"),
    ],
)
def test_noise_waits_until_what_came_before_it_was_taken(noise, message):
    reader = PacketReader()

    whole = encode(PacketType.NOOP, magic=RESPONSE)
    assert reader.feed(whole + noise) == [Packet(PacketType.NOOP)]
    with pytest.raises(ProtocolError, match=message):
        reader.feed(b"")


@pytest.mark.parametrize("kind", [kind for kind, count in ARGUMENTS.items() if count > 1])
def test_too_few_arguments_are_reported(kind):
    packet = encode(kind, *[b"x"] * (ARGUMENTS[kind] - 1), magic=RESPONSE)

    with pytest.raises(ProtocolError, match=rf"{kind.name} with \d of its {ARGUMENTS[kind]}"):
        read([packet], RESPONSE)


def test_the_message_about_a_huge_wrong_packet_is_short():
    with pytest.raises(ProtocolError) as caught:
        read([encode(PacketType.WORK_COMPLETE, b"x" * 100_000, magic=RESPONSE)], RESPONSE)

    assert len(str(caught.value)) < 500


def test_a_nul_that_would_shift_the_arguments_is_refused():
    with pytest.raises(ValueError, match="NUL"):
        encode(PacketType.SUBMIT_JOB, b"f", b"a\0b", b"data")


def test_an_argument_that_is_not_bytes_is_refused():
    with pytest.raises(TypeError):
        frame(PacketType.WORK_COMPLETE, b"H:vm:1\0", "text")


def test_a_packet_too_large_for_the_size_field_is_refused(monkeypatch):
    monkeypatch.setattr(packets_module, "_MAX_SIZE", 10)

    assert encode(PacketType.ECHO_REQ, bytes(10))
    with pytest.raises(ValueError, match="too much"):
        encode(PacketType.ECHO_REQ, bytes(11))


@unhurried
@given(st.binary())
def test_names_that_are_not_utf8_survive_the_way_back(name):
    assert to_bytes(to_text(name)) == name


# Admin texts


LARGE = 200_000
ASSIGNED = (b"H:host:1", b"function", b"unique")


@given(cut=st.integers(1, 3000), chunk=st.integers(1, 700))
def test_the_head_of_a_large_packet_is_known_before_its_end(cut, chunk):
    data = encode(PacketType.JOB_ASSIGN_UNIQ, *ASSIGNED, b"x" * LARGE, magic=RESPONSE)[:cut]
    reader = PacketReader()

    for start in range(0, cut, chunk):
        reader.feed(data[start : start + chunk])
    found = reader.head(1000)

    names = 12 + sum(map(len, ASSIGNED)) + len(ASSIGNED)
    expected = None
    if cut >= names:
        expected = Packet(PacketType.JOB_ASSIGN_UNIQ, ASSIGNED), LARGE
    assert found == expected
    assert reader.head(LARGE * 2) is None


@given(first=st.integers(12, 1500), second=st.integers(0, 1500))
def test_the_head_is_known_while_a_packet_is_read_into_its_buffer(first, second):
    data = encode(PacketType.JOB_ASSIGN_UNIQ, *ASSIGNED, b"x" * 300_000, magic=RESPONSE)
    reader = PacketReader()
    reader.feed(data[:first])
    before = reader.head(1000)

    room = reader.room()
    assert room is not None
    assert reader.head(1000) == before
    room[:second] = data[first : first + second]
    assert reader.filled(second) == []

    names = 12 + sum(map(len, ASSIGNED)) + len(ASSIGNED)
    known = Packet(PacketType.JOB_ASSIGN_UNIQ, ASSIGNED), 300_000
    assert reader.head(1000) == (known if first + second >= names else None)
    assert reader.missing == len(data) - first - second


def test_noise_and_whole_packets_have_no_head():
    reader = PacketReader()
    reader.feed(encode(PacketType.JOB_ASSIGN_UNIQ, *ASSIGNED, b"x" * LARGE, magic=RESPONSE))

    assert reader.head(0) is None
    assert parse_head(b"HTTP/1.1 200 OK\r\n") is None
    assert parse_head(encode(PacketType.NO_JOB, magic=RESPONSE)) is None
