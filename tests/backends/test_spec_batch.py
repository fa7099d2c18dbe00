"""Batches of specs: sequences that make a spec when asked for one."""

from __future__ import annotations

import pytest

from django_gearman.backends.base import JobSpec, SpecBatch, Submission
from django_gearman.backends.gearmand.encoding import encode_job, encode_jobs
from django_gearman.backends.gearmand.submission import QueuedJobs
from django_gearman.backends.remote import batches
from django_gearman.backends.sending import Sending
from django_gearman.backends.specs import check_batch
from django_gearman.backends.submitted import Joined, errors_of
from django_gearman.exceptions import (
    ConnectionLost,
    ServerError,
    ServerUnavailable,
    SubmitUncertain,
)

FIRST = 0x019AD1B2C3D47ABC_8123456700FFFFFE
UNIQUES = ["019ad1b2c3d47abc8123456700fffffe", "019ad1b2c3d47abc8123456700ffffff"]


@pytest.fixture
def specs() -> SpecBatch:
    return SpecBatch("resize", FIRST, [b"a", b"", b"c" * 5000])


def test_each_spec_has_its_workload_and_the_next_unique(specs):
    assert len(specs) == 3
    assert specs[0] == JobSpec("resize", b"a", UNIQUES[0], background=True)
    assert specs[1] == JobSpec("resize", b"", UNIQUES[1], background=True)
    assert specs[-1] == [*specs][2]
    with pytest.raises(IndexError):
        specs[3]


def test_a_slice_has_the_same_specs(specs):
    assert [*specs[1:]] == [*specs][1:]
    assert [*specs[-2:-1]] == [*specs][-2:-1]
    assert [*specs[2:1]] == []
    with pytest.raises(ValueError, match="no step"):
        specs[::2]


@pytest.mark.parametrize("background", [True, False])
def test_its_packets_are_those_of_its_specs(specs, background):
    specs = SpecBatch(specs.function, specs.first, specs.workloads, background=background)
    assert {spec.background for spec in [*specs, *specs[1:]]} == {background}
    expected = b"".join(part for spec in specs for part in encode_job(spec))

    assert b"".join(encode_jobs(specs)) == expected
    assert b"".join(encode_jobs([*specs])) == expected
    assert encode_jobs(specs[:0]) == []


@pytest.mark.parametrize(
    ("function", "workload", "error"),
    [("", b"a", ValueError), ("a\0b", b"a", ValueError), ("resize", "text", TypeError)],
)
def test_a_batch_that_cannot_be_sent_is_refused(function, workload, error):
    with pytest.raises(error):
        check_batch(SpecBatch(function, FIRST, [b"right", workload]))


def test_it_is_split_like_other_jobs(specs):
    [(_, places, jobs)] = Sending(specs).batches({"server": range(3)})
    assert (type(jobs), [*places], [*jobs]) == (SpecBatch, [0, 1, 2], [*specs])

    found = [*Sending(specs).batches({"one": [0, 2], "other": [1]})]
    assert [(name, [*jobs]) for name, _, jobs in found] == [
        ("one", [specs[0], specs[2]]),
        ("other", [specs[1]]),
    ]


def queued(*handles: bytes, number: int) -> QueuedJobs:
    jobs = QueuedJobs("resize", "server//", number)
    jobs.take(handles)
    return jobs


def test_the_jobs_of_a_batch_keep_their_places_whatever_becomes_of_each():
    jobs = queued(b"H:1", b"H:2", number=5)
    jobs.refuse(refused := ServerError("full"))
    assert (jobs.left, jobs.answered()) == (2, False)

    jobs.lose(ConnectionLost("gone"))
    assert jobs.take((b"H:4", b"H:5", b"H:of another")) == 2, "late answers count as answers"

    assert (jobs.left, jobs.answered()) == (0, True)
    assert [each.handle for each in jobs] == ["server//H:1", "server//H:2", "", "", ""]
    assert [each.error for each in jobs[:3]] == [None, None, refused]
    assert isinstance(jobs[-1].error, SubmitUncertain)
    assert jobs.errors == {place: jobs[place].error for place in (2, 3, 4)}
    with pytest.raises(SubmitUncertain):
        jobs[4].next_update(0)


def test_a_batch_that_several_connections_took_is_one_sequence(specs):
    sending: Sending[Submission] = Sending(specs)
    [(_, places, _)] = sending.batches({"server": range(3)})

    sending.sent(places, Joined([queued(b"H:1", b"H:2", number=2)]))  # then the connection broke
    assert [*sending.unsent] == [2]
    [(_, places, _)] = sending.batches({"other": [*sending.unsent]})
    sending.sent(places, Joined([queued(b"H:7", number=1)]))

    found = sending.submissions()
    assert [each.handle for each in found] == ["server//H:1", "server//H:2", "server//H:7"]
    assert (found[-1].handle, len(found), errors_of(found)) == ("server//H:7", 3, {})
    with pytest.raises(IndexError):
        found[3]


def test_jobs_of_a_batch_that_no_server_took_are_not_uncertain(specs):
    sending: Sending[Submission] = Sending(specs)
    [(_, places, _)] = sending.batches({"server": range(3)})
    sending.sent(places, Joined([queued(b"H:1", number=1)]))

    sending.give_up(error := ServerUnavailable("none"))

    assert errors_of(sending.submissions()) == {1: error, 2: error}


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], []),
        ([1] * 2500, [1000, 1000, 500]),
        ([600_000, 600_000, 1], [2, 1]),
        ([1] * 999 + [2_000_000] * 2, [1000, 1]),
    ],
)
def test_jobs_are_written_in_batches_of_some_number_and_size(sizes, expected):
    items = range(len(sizes))

    found = [[*batch] for batch in batches(items, sizes)]

    assert [len(batch) for batch in found] == expected
    assert [item for batch in found for item in batch] == [*items]
