"""Any bytes, cut anywhere, make the same requests."""

from __future__ import annotations

import contextlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_gearman.exceptions import ProtocolError
from django_gearman.jobserver.reader import RequestReader
from django_gearman.protocol.packets import ARGUMENTS, PacketType, encode

names = st.binary(max_size=20).map(lambda data: data.replace(b"\0", b""))
kinds = st.sampled_from(sorted(ARGUMENTS))


@st.composite
def requests(draw):
    if draw(st.booleans()):
        line = draw(names).replace(b"\n", b"").removesuffix(b"\r")
        return b"x" + line + b"\n", (None, (b"x" + line,))
    kind = draw(kinds)
    count = ARGUMENTS[kind]
    head = tuple(draw(names) for _ in range(count - 1))
    args = (*head, draw(st.binary(max_size=50))) if count else ()
    return encode(kind, *args), (kind, args)


@given(st.lists(requests()), st.data())
def test_requests_come_out_as_they_went_in(sent, data):
    stream = b"".join(each for each, _ in sent)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=10)))
    reader = RequestReader(1 << 20)
    found = [
        request
        for start, end in pairwise([0, *cuts, len(stream)])
        for request in reader.feed(stream[start:end])
    ]
    assert found == [expected for _, expected in sent]
    assert not reader.is_within


@given(st.lists(st.binary(max_size=100)))
def test_noise_is_an_error_or_waits_for_more(chunks):
    reader = RequestReader(1 << 20)
    with contextlib.suppress(ProtocolError):
        for chunk in chunks:
            for kind, args in reader.feed(chunk):
                assert (len(args) == 1) if kind is None else (len(args) == ARGUMENTS[kind])


def test_a_packet_has_its_limit():
    reader = RequestReader(100)
    assert len(list(reader.feed(encode(PacketType.ECHO_REQ, b"x" * 100)))) == 1
    with pytest.raises(ProtocolError, match="101 bytes; at most 100"):
        list(reader.feed(encode(PacketType.ECHO_REQ, b"x" * 101)))
