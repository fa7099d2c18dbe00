"""Who is sent the traceback of a failed job: this project's own clients, by default."""

from __future__ import annotations

import traceback

import pytest

from django_gearman import GearmanClient, GearmanWorker
from django_gearman.backends import get_backend
from django_gearman.backends.base import JobSpec, WorkWarning
from django_gearman.exceptions import JobRaised
from django_gearman.jobs.registry import registry
from django_gearman.serializers import Call, get_serializer
from django_gearman.serializers.failures import parse_error
from django_gearman.worker.execution import execute
from django_gearman.worker.reporting import fail_unknown
from tests.app import gearman_jobs as jobs

OWN = b'{"args": ["boom"], "kwargs": {}}'
BARE = b'"boom"'


def reported(workload: bytes, function: str = "tests.app.fail") -> dict[str, str]:
    """Return the error that the client of a failed job gets."""
    backend = get_backend()
    [submission] = backend.submit([JobSpec(function, workload)])
    session = backend.register([function])
    assigned = session.grab_job(0)
    job = registry.find(function)
    if job is None:
        fail_unknown(assigned, session)
    else:
        execute(job, assigned, session, backend.submit)
    [warning] = [u for u in submission.updates(0) if isinstance(u, WorkWarning)]
    error = parse_error(warning.data)
    assert error is not None
    return error


@pytest.mark.parametrize(
    ("setting", "debug", "workload", "sent"),
    [
        (None, False, OWN, True),
        (None, False, BARE, False),
        (None, True, BARE, True),
        (True, False, BARE, True),
        (False, True, OWN, False),
    ],
)
def test_the_settings_and_the_envelope_decide(memory, settings, setting, debug, workload, sent):
    settings.GEARMAN_SEND_TRACEBACKS, settings.DEBUG = setting, debug

    error = reported(workload)

    assert (error["exception_type"], error["message"]) == ("ValueError", "boom")
    assert ("raise ValueError" in error["traceback"]) is sent
    assert bool(error["traceback"]) is sent


@pytest.mark.parametrize(
    "workload",
    [
        b"",
        b"\xff\x00noise",
        b'{"args": "boom", "kwargs": {}}',
        b'{"args": [], "kwargs": {}, "more": 1}',
        b'{"message": "boom"}',
        b"[" * 2000,
    ],
    ids=lambda workload: repr(workload[:40]),
)
def test_a_workload_without_an_envelope_is_another_programs(memory, workload):
    assert reported(workload)["traceback"] == ""


def test_a_signed_pickle_is_our_own(memory, monkeypatch):
    monkeypatch.setattr(jobs.fail, "serializer", "pickle")
    serializer = get_serializer("pickle").for_function("tests.app.fail")

    assert "raise ValueError" in reported(serializer.dumps_call(Call(["boom"])))["traceback"]
    assert reported(BARE)["traceback"] == ""


def test_raw_bytes_may_be_anybodys(memory, monkeypatch):
    monkeypatch.setattr(jobs.fail, "serializer", "raw")

    assert reported(OWN)["traceback"] == ""


def test_a_function_without_a_declaration(memory, settings):
    assert reported(OWN, "no.such.function")["traceback"] == ""


def test_the_words_of_a_worker_stay_in_their_line():
    error = JobRaised(
        "job x", exception_type="E\n1", message="no\n\x1b[2J", traceback="T:\n  a\x1b\n"
    )

    assert str(error) == r"job x raised E\n1: no\n\x1b[2J"
    assert error.message == "no\n\x1b[2J"
    assert error.__notes__ == ["On the worker:\n  T:\n    a\\x1b"]


def test_the_traceback_of_a_failed_run_is_formatted_once(settings, monkeypatch, caplog):
    settings.GEARMAN_BACKEND, settings.GEARMAN_OPTIONS = "memory", {"name": "formatted-once"}
    settings.GEARMAN_SEND_TRACEBACKS = True
    formatted = []
    original = traceback.format_exception
    monkeypatch.setattr(
        traceback, "format_exception", lambda error: formatted.append(error) or original(error)
    )
    requests = [
        GearmanClient().submit_job("tests.app.fail", text, wait_until_complete=False)
        for text in ("one", "two")
    ]

    GearmanWorker(clean_connections=False).work(burst=True)

    assert [str(error) for error in formatted] == ["one", "two"]
    for request, text in zip(requests, ("one", "two"), strict=True):
        with pytest.raises(JobRaised) as caught:
            _ = request.wait(10).result
        assert f"ValueError: {text}" in caught.value.traceback
        assert f"ValueError: {text}" in caplog.text
