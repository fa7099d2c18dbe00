"""Stubs, which answer for workers of other programs."""

from __future__ import annotations

import datetime

import pytest

from django_gearman import gearman_job
from django_gearman.exceptions import JobNotRegistered, JobRaised, SerializationError
from tests.app import gearman_jobs as jobs
from tests.support.transports import on_each_transport


@on_each_transport
def test_a_stub_answers_at_once_on_every_transport(transport, gearman_client):
    gearman_client.stub("php.pdf", returns=b"%PDF")

    raw = gearman_client.using(serializer="raw")
    assert raw.submit_job("php.pdf", b"page").result == b"%PDF"
    assert gearman_client.submit_job("php.pdf", {"page": 1}).result == b"%PDF"
    job = gearman_client.assert_submitted("php.pdf", b"page", queue=None)
    assert (job.result, job.runs) == (b"%PDF", 1)


def test_a_stub_may_be_a_function_of_the_arguments(gearman_client, settings):
    settings.GEARMAN_EXTERNAL_JOBS = ["go.*"]
    gearman_client.stub("go.scale", lambda path, width=1: f"{path} {width}")

    assert (
        gearman_client.submit_job("go.scale", "a.png", wait_until_complete=True).result == "a.png 1"
    )
    assert gearman_client.submit_job("go.scale", path="a.png", width=2).result == "a.png 2"


@on_each_transport
@pytest.mark.parametrize("background", [True, False])
def test_an_error_reaches_the_test(transport, gearman_client, background):
    gearman_client.stub("php.pdf", raises=ValueError("no paper"))

    with pytest.raises(ValueError, match="no paper"):
        gearman_client.submit_job("php.pdf", 1, background=background)
    [job] = gearman_client.submitted
    assert isinstance(job.exception, ValueError)


@on_each_transport
def test_on_request_an_error_reaches_the_client_as_from_another_language(transport, gearman_client):
    gearman_client.raise_failures = False
    gearman_client.stub("php.pdf", raises=ValueError("no paper"))

    request = gearman_client.submit_job("php.pdf", 1)

    with pytest.raises(JobRaised, match="no paper") as raised:
        print(request.result)
    assert raised.value.exception_type == ""
    assert gearman_client.assert_submitted("php.pdf").exception is not None


def test_a_stub_ends_with_its_block(gearman_client):
    with gearman_client.stub("php.pdf", returns=1):
        assert gearman_client.submit_job("php.pdf").result == 1

    with pytest.raises(JobNotRegistered):
        gearman_client.submit_job("php.pdf")
    gearman_client.assert_submitted("php.pdf", times=1)


def test_the_stub_that_was_made_last_answers(gearman_client):
    gearman_client.stub("php.pdf", returns=1)
    with gearman_client.stub("php.pdf", returns=2):
        assert gearman_client.submit_job("php.pdf").result == 2

    assert gearman_client.submit_job("php.pdf").result == 1


def test_a_job_of_the_project_can_be_stubbed(gearman_client, ran):
    gearman_client.stub(jobs.note, returns="not run")

    assert jobs.note.do(1) == "not run"
    assert ran == []
    with pytest.raises(TypeError, match="missing"):
        jobs.note.do()


def test_a_delayed_job_is_answered_when_it_is_due(gearman_client, gearman_worker):
    gearman_client.stub("php.pdf", returns=1)
    later = gearman_client.using(run_after=datetime.timedelta(minutes=5))
    later.submit_job("php.pdf", background=True)
    [job] = gearman_client.submitted
    assert not job.finished

    gearman_worker.advance(minutes=6)

    assert job.result == 1


def test_a_stub_meets_faults_as_a_worker_does(gearman_client):
    gearman_client.stub("php.pdf", returns=1)

    with gearman_client.crash_worker_during("php.pdf"):
        assert gearman_client.submit_job("php.pdf").result == 1
    assert gearman_client.submitted[0].runs == 2


@on_each_transport
def test_an_answer_that_cannot_be_sent_ends_that_job_alone(
    transport, gearman_client, gearman_worker
):
    gearman_client.stub("php.pdf", returns=object())
    for background in (True, False):
        with pytest.raises(SerializationError):
            gearman_client.submit_job("php.pdf", background=background)

    jobs.add.do_background(1)
    gearman_worker.run()

    assert [job.failed for job in gearman_client.submitted] == [True, True, False]


def test_a_failed_assertion_of_a_stub_reaches_the_test(gearman_client):
    def answer(page):
        assert page == "expected"

    gearman_client.stub("php.pdf", answer)
    gearman_client.submit_job("php.pdf", "expected", background=True)
    with pytest.raises(AssertionError, match="expected"):
        gearman_client.submit_job("php.pdf", "other", background=True)

    gearman_client.stub("php.pdf", lambda page: pytest.fail("not this"))
    with pytest.raises(pytest.fail.Exception, match="not this"):
        gearman_client.submit_job("php.pdf", "other", background=True)

    gearman_client.stub("php.pdf", lambda: None)
    with pytest.raises(TypeError, match="positional"):
        gearman_client.submit_job("php.pdf", "other", background=True)


def test_a_job_that_production_would_not_know_cannot_be_stubbed(gearman_client, settings):
    settings.GEARMAN_EXTERNAL_JOBS = ["php.*"]

    with pytest.raises(JobNotRegistered, match=r"php\.pdf.*stub\(\)"):
        gearman_client.submit_job("php.pdf")
    gearman_client.stub("php.pdf", returns=1)
    gearman_client.stub(jobs.note, returns=1)
    with pytest.raises(JobNotRegistered, match=r"pdf\.php"):
        gearman_client.stub("pdf.php", returns=1)


@pytest.mark.parametrize(
    ("name", "answers", "error"),
    [
        ("php pdf", {"returns": 1}, ValueError),
        (5, {"returns": 1}, TypeError),
        ("php.pdf", {"returns": 1, "raises": ValueError("no")}, TypeError),
        ("php.pdf", {"raises": "no paper"}, TypeError),
        ("php.pdf", {"raises": KeyboardInterrupt}, TypeError),
    ],
)
def test_a_stub_that_cannot_answer_is_an_error(gearman_client, name, answers, error):
    with pytest.raises(error):
        gearman_client.stub(name, **answers)


def test_a_stub_answers_by_a_function(gearman_client):
    with pytest.raises(TypeError, match="returns="):
        gearman_client.stub("php.pdf", b"forgot the name")


@on_each_transport
def test_a_stub_answers_jobs_that_call_it(transport, gearman_client, gearman_worker):
    @gearman_job(name="print")
    def print_page(page):
        return gearman_client.submit_job("php.pdf", page).result

    gearman_client.stub("php.pdf", lambda page: f"pdf of {page}")
    print_page.do_background("page")
    gearman_worker.run()

    assert gearman_client.submitted[0].result == "pdf of page"
