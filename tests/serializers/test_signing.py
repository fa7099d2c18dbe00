"""Signed pickles, which are good for one function and one purpose; and what `raw` carries."""

from __future__ import annotations

import datetime
import itertools
import time
import zlib

import pytest
from django.core.checks import run_checks
from django.core.signing import Signer
from hypothesis import given
from hypothesis import strategies as st

from django_gearman import GearmanClient, gearman_job
from django_gearman.backends import get_backend
from django_gearman.backends.base import JobSpec, WorkComplete, WorkFail
from django_gearman.exceptions import JobRaised, SerializationError
from django_gearman.jobs.context import current_job
from django_gearman.serializers import Call, JSONSerializer, PickleSerializer, Serializer
from django_gearman.worker.inline import run_queued
from tests.support.transports import on_queueing_transports

PICKLE = PickleSerializer()

WAYS = {
    "call": (
        lambda s, value: s.dumps_call(Call([value])),
        lambda s, data: s.loads_call(data).args[0],
    ),
    "update": (lambda s, value: s.dumps_update(value), lambda s, data: s.loads_update(data)),
    "result": (lambda s, value: s.dumps_result(value), lambda s, data: s.loads_result(data)),
}
names = st.sampled_from(["", "a", "a:call", "call", "a:", ":a"])


@given(value=st.integers() | st.text(), one=names, other=names)
def test_a_pickle_is_good_for_its_function_and_purpose_only(value, one, other):
    sender, receiver = PICKLE.for_function(one), PICKLE.for_function(other)
    for sent, got in itertools.product(WAYS, WAYS):
        data = WAYS[sent][0](sender, value)
        if (one, sent) == (other, got):
            assert WAYS[got][1](receiver, data) == value
        else:
            with pytest.raises(SerializationError, match="another job or purpose"):
                WAYS[got][1](receiver, data)


@pytest.fixture
def two_jobs(settings, gearman_worker):
    settings.GEARMAN_SERIALIZER = "pickle"
    ran = []

    @gearman_job(name="greets")
    def greet(name):
        ran.append(("greets", name))
        return [name]

    @gearman_job(name="deletes")
    def delete(name):
        ran.append(("deletes", name))

    return ran


def send(function, workload):
    """Send a captured workload, and return the outcome."""
    backend = get_backend()
    [submission] = backend.submit([JobSpec(function, workload)])
    run_queued(backend)
    return submission


@pytest.mark.gearman("eager")
def test_the_call_of_one_job_is_refused_by_another(two_jobs, gearman_client):
    workload = gearman_client.submit_job("greets", "ada").spec.workload

    assert [*send("deletes", workload).updates()][-1] == WorkFail()
    assert isinstance([*send("greets", workload).updates()][-1], WorkComplete)
    assert two_jobs == [("greets", "ada")] * 2


@pytest.mark.gearman("eager")
def test_a_result_is_not_a_call(two_jobs, gearman_client):
    @gearman_job(name="returns-a-call")
    def returns_a_call():
        return {"args": ["ada"], "kwargs": {}}

    result = [
        *send("returns-a-call", gearman_client.submit_job("returns-a-call").spec.workload).updates()
    ]
    for function in ("greets", "deletes", "returns-a-call"):
        assert [*send(function, result[-1].data).updates()][-1] == WorkFail()
    assert two_jobs == []


@pytest.mark.gearman("eager")
def test_jobs_with_pickles_retry_report_and_answer(settings):
    settings.GEARMAN_SERIALIZER = "pickle"
    settings.GEARMAN_JOB_NAME = "site.{name}"
    attempts = []

    @gearman_job(name="reports", takes_context=True, retries=1, backoff=0)
    def report(context, value):
        attempts.append(context.attempt)
        context.send_data({1: value})
        if len(attempts) == 1:
            raise OSError("again")
        return {value}

    report.do_background(3)
    assert attempts == [1, 2]
    request = GearmanClient().submit_job("reports", 3)
    assert request.result == {3}
    assert list(request.data_updates) == [{1: 3}]


@on_queueing_transports
def test_a_pickle_that_waits_for_its_retry_stays_valid(transport, gearman_worker, settings):
    settings.GEARMAN_SERIALIZER = "pickle"
    settings.GEARMAN_JOB_NAME = "site.{name}"
    attempts = []

    @gearman_job(name="comes-back-signed", retries=1, backoff=1)
    def wait(values):
        attempts.append((current_job().attempt, values))
        if len(attempts) == 1:
            raise OSError("again")

    wait.using(run_after=datetime.timedelta(seconds=1)).do_background({1, 2})
    deadline = time.monotonic() + 60
    while len(attempts) < 2 and time.monotonic() < deadline:
        gearman_worker.run()
        time.sleep(0.1)

    assert attempts == [(1, {1, 2}), (2, {1, 2})]


# Beside 1.0


def signed_as_before(value):
    written = PICKLE.dumps(value).decode().rpartition(":")[0]
    return Signer(salt="django_gearman.serializers.PickleSerializer").sign(written).encode()


def test_pickles_of_before_are_refused_with_advice():
    with pytest.raises(SerializationError, match="GEARMAN_OLD_PICKLES = 'read'"):
        PICKLE.loads_call(signed_as_before(3))


@pytest.mark.parametrize("mode", ["read", "write"])
def test_pickles_of_before_are_read_during_an_upgrade(settings, mode):
    settings.GEARMAN_OLD_PICKLES = mode
    bound = PICKLE.for_function("greets")

    assert bound.loads_call(signed_as_before({"args": [1], "kwargs": {}})) == Call([1], {})
    assert bound.loads_result(signed_as_before(3)) == 3
    assert bound.loads_call(bound.dumps_call(Call([1], {}))) == Call([1], {})
    with pytest.raises(SerializationError, match="SECRET_KEY"):
        bound.loads(signed_as_before(3) + b"x")


def test_pickles_are_written_as_before_for_processes_of_before(settings):
    settings.GEARMAN_OLD_PICKLES = "write"

    assert PICKLE.for_function("greets").dumps(3) == signed_as_before(3)
    settings.GEARMAN_OLD_PICKLES = "read"
    assert PICKLE.for_function("greets").dumps(3) != signed_as_before(3)


@pytest.mark.parametrize(
    ("mode", "ids"),
    [
        (None, []),
        ("read", ["django_gearman.W003"]),
        ("write", ["django_gearman.W003"]),
        (True, ["django_gearman.E013"]),
    ],
)
def test_the_setting_is_checked(settings, mode, ids):
    settings.GEARMAN_OLD_PICKLES = mode

    assert [message.id for message in run_checks()] == ids


# Serializers of a project's own


class Squeezed(PickleSerializer):
    def __init__(self, level=9):
        self.level = level

    def dumps(self, value):
        return zlib.compress(super().dumps(value), self.level)

    def loads(self, data):
        return super().loads(zlib.decompress(data))


class Plain(Serializer):
    """One that was written for 1.0."""

    def dumps(self, value):
        return repr(value).encode()

    def loads(self, data):
        return eval(data)


@pytest.mark.parametrize("serializer", [Squeezed(1), Plain(), JSONSerializer()])
def test_a_serializer_with_dumps_and_loads_alone_does_for_all(serializer):
    bound = serializer.for_function("greets")
    for dumps, loads in WAYS.values():
        assert loads(bound, dumps(bound, [1])) == [1]


def test_the_additions_of_a_subclass_hold_for_each_function():
    one, other = Squeezed(1).for_function("one"), Squeezed(1).for_function("other")

    assert one.level == 1
    assert zlib.decompress(one.dumps_call(Call([1])))
    with pytest.raises(SerializationError):
        other.loads_call(one.dumps_call(Call([1])))


# raw


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (b"\0\xff", b"\0\xff"),
        (bytearray(b"x"), b"x"),
        (memoryview(b"x"), b"x"),
        (None, b""),
        ("", b""),
        ("é", "é".encode()),
        (False, b"false"),
        (True, b"true"),
        (0, b"0"),
        (1.5, b"1.5"),
        ({"a": [1, None]}, b'{"a": [1, null]}'),
    ],
    ids=lambda value: type(value).__name__,
)
def test_raw_takes_what_a_job_returns_when_the_work_is_done(value, data, gearman_client):
    @gearman_job(name="returns-anything", serializer="raw", takes_context=True)
    def returns_anything(context, argument):
        context.send_data(value)
        return value

    request = gearman_client.submit_job("returns-anything", b"x")

    assert request.result == data
    assert list(request.data_updates) == [data]


@pytest.mark.parametrize(
    "value",
    [object(), {1, 2}, float("nan"), "\ud800", {"a": b"x"}],
    ids=lambda value: type(value).__name__,
)
def test_raw_refuses_what_has_no_plain_form(value):
    @gearman_job(name="returns-no-form", serializer="raw")
    def returns_anything(argument):
        return value

    with pytest.raises(
        (SerializationError, JobRaised), match='serializer="raw" carries bytes, not'
    ):
        returns_anything.do(b"x")


@pytest.mark.parametrize("value", ["text", False, 3, {}])
def test_raw_takes_arguments_of_bytes_only(value):
    @gearman_job(name="takes-bytes", serializer="raw")
    def takes_bytes(data): ...

    with pytest.raises(SerializationError, match="an argument of bytes, not"):
        takes_bytes.do_background(value)
