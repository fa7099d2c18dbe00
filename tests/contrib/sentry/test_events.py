"""Failed jobs as events, by Sentry's SDK with a transport that keeps what is sent."""

from __future__ import annotations

import json
import logging

import pytest
import sentry_sdk

from django_gearman.exceptions import JobFailed, ServerUnavailable
from tests.contrib.sentry import work

pytestmark = pytest.mark.gearman("memory", raise_failures=False)


def exception(event) -> dict:
    return event["exception"]["values"][-1]


@pytest.mark.parametrize("is_logged", [True, False], ids=["logging", "no logging"])
def test_a_failed_job_is_one_event(sentry, gearman_worker, is_logged):
    inbox = sentry(is_logged=is_logged)

    request = work.pays.do_background("4111", 10)
    gearman_worker.run()

    event = inbox.event
    assert exception(event)["type"] == "CardRefused"
    assert exception(event)["mechanism"] == {"type": "gearman", "handled": False}
    assert (event["level"], event["transaction"]) == ("error", "tests.contrib.sentry.work.pays")
    assert event["tags"] == {
        "job": "tests.contrib.sentry.work.pays",
        "queue": "shop",
        "attempt": "1",
        "id": request.id,
        "of_job": "yes",
    }
    assert [each["message"] for each in event["breadcrumbs"]["values"]] == ["before the failure"]


@pytest.mark.gearman("eager", raise_failures=False)
def test_a_foreground_job_that_fails_is_one_event(sentry, gearman_client):
    inbox = sentry()

    with pytest.raises(JobFailed):
        work.pays.do("4111", 10)

    assert inbox.event["tags"]["job"] == "tests.contrib.sentry.work.pays"


def test_a_coroutine_that_fails_is_one_event(sentry, gearman_worker):
    inbox = sentry()

    work.fails_later.do_background(3)
    gearman_worker.run()

    assert exception(inbox.event)["value"] == "3"


def test_each_failure_is_an_event_of_its_own(sentry, gearman_worker):
    inbox = sentry()

    for number in range(3):
        work.pays.do_background("4111", number)
    gearman_worker.run()

    assert [exception(each)["value"] for each in inbox.events] == [
        "amount 0",
        "amount 1",
        "amount 2",
    ]


def test_asking_for_another_run_is_not_an_event(sentry, gearman_worker):
    inbox = sentry(gearman={"report_retries": True})

    work.asks_for_another_run.do_background()
    gearman_worker.run()

    assert inbox.events == []
    statuses = [each["contexts"]["trace"]["status"] for each in inbox.transactions]
    assert [status for status in statuses if status != "ok"] == ["aborted", "aborted"]


def test_a_cancelled_job_is_not_an_event(sentry, gearman_worker):
    inbox = sentry(gearman={"report_retries": True})

    work.is_cancelled.do_background()
    gearman_worker.run()

    assert inbox.events == []
    [transaction] = inbox.transactions
    assert transaction["contexts"]["trace"]["status"] == "cancelled"


def test_only_the_last_attempt_is_an_event(sentry, gearman_worker):
    inbox = sentry()

    work.flaky.do_background(3)
    gearman_worker.run()

    assert exception(inbox.event)["value"] == "attempt 3"
    assert inbox.event["tags"]["attempt"] == "3"


def test_attempts_that_are_retried_are_warnings_on_request(sentry, gearman_worker):
    inbox = sentry(gearman={"report_retries": True})

    work.flaky.do_background(2)
    gearman_worker.run()

    assert [(each["level"], each["tags"]["attempt"]) for each in inbox.events] == [
        ("warning", "1"),
        ("warning", "2"),
    ]


def test_an_exception_without_a_text_is_one_event(sentry, gearman_worker):
    inbox = sentry()

    work.raises_what_has_no_text.do_background()
    gearman_worker.run()

    assert exception(inbox.event)["type"] == "_Failure"


def test_other_records_of_the_library_are_events_with_the_jobs_tags(sentry, gearman_client):
    inbox = sentry()
    logger = logging.getLogger("django_gearman.jobs")
    extra = {"gearman_job": "shop.pay", "gearman_queue": "shop", "gearman_id": "7"}

    logger.error("job %s was not submitted", "shop.pay", extra=extra)
    logging.getLogger("shop").error("not of a job")

    of_job, other = inbox.events
    assert of_job["tags"] == {"job": "shop.pay", "queue": "shop", "id": "7"}
    assert "job" not in other.get("tags", {})


def test_the_scope_of_a_job_ends_with_it(sentry, gearman_worker):
    inbox = sentry()
    sentry_sdk.set_tag("of_process", "yes")

    work.pays.do_background("4111", 1)
    work.raises_what_has_no_text.do_background()
    gearman_worker.run()
    sentry_sdk.capture_message("later")

    assert [each["tags"].get("of_job") for each in inbox.events] == ["yes", None, None]
    assert inbox.events[-1]["tags"] == {"of_process": "yes"}


def test_a_job_of_a_job_has_its_own_tags(sentry, gearman_worker):
    inbox = sentry()

    work.submits_one_that_fails.do_background()
    gearman_worker.run()

    assert inbox.event["tags"]["job"] == "tests.contrib.sentry.work.pays"


def test_a_submission_that_fails_is_not_an_event_of_ours(sentry, gearman_client):
    inbox = sentry()

    with gearman_client.server_down(), pytest.raises(ServerUnavailable):
        work.succeeds.do_background(1)

    assert inbox.events == []


# Arguments


def test_arguments_are_not_sent(sentry, gearman_worker):
    inbox = sentry()

    work.pays.do_background("4111-secret", 10)
    work.reports_itself.do_background("4111-secret")
    gearman_worker.run()

    assert len(inbox.events) == 2
    for event in inbox.events:
        assert "4111-secret" not in json.dumps(event)
    [frame] = [
        each
        for each in exception(inbox.events[0])["stacktrace"]["frames"]
        if each["function"] == "pays"
    ]
    assert frame["vars"] == {"card": "[Filtered]", "amount": "[Filtered]"}


@pytest.mark.filterwarnings("ignore:The send_default_pii option is deprecated")
@pytest.mark.parametrize(
    "option", [{"send_default_pii": True}, {"data_collection": {"queues": True}}]
)
def test_arguments_are_sent_on_request(sentry, gearman_worker, option):
    inbox = sentry(**option)

    work.pays.do_background("4111-secret", amount=10)
    gearman_worker.run()

    assert inbox.event["extra"]["gearman-call"] == {
        "args": ["4111-secret"],
        "kwargs": {"amount": 10},
    }


def test_sensitive_arguments_are_never_sent(sentry, gearman_worker):
    inbox = sentry(data_collection={"queues": True})

    work.pays_in_secret.do_background("4111-secret", amount=10)
    gearman_worker.run()

    assert "4111-secret" not in json.dumps(inbox.event)
    assert inbox.event["extra"]["gearman-call"]["kwargs"] == {"amount": 10}


# Without the integration, or with faults


def test_without_the_integration_nothing_is_sent(sentry, gearman_worker):
    inbox = sentry()
    sentry_sdk.get_global_scope().set_client(None)

    work.pays.do_background("4111", 1)
    gearman_worker.run()

    assert inbox.envelopes == []


def test_a_sampler_that_fails_fails_no_job(sentry, gearman_worker, gearman_client):
    def sample(context):
        raise LookupError("no rate")

    sentry(traces_sampler=sample)

    request = work.succeeds.do_background(5)
    gearman_worker.run()

    assert request.id == gearman_client.submitted[0].id
    assert gearman_client.submitted[0].result == 5


@pytest.mark.parametrize("entry", ["", "garbage", 7, None, ["a"], "x" * 100_000])
def test_an_entry_that_is_not_a_trace_begins_one(sentry, gearman_worker, settings, entry):
    settings.GEARMAN_CONTEXT_PROVIDER = lambda: {"sentry-trace": entry, "baggage": entry}
    inbox = sentry(gearman={"propagate_traces": False})

    work.succeeds.do_background()
    gearman_worker.run()

    [transaction] = inbox.transactions
    assert transaction["contexts"]["trace"].get("parent_span_id") is None
