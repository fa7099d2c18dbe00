"""Transactions of jobs, by Sentry's SDK with a transport that keeps what is sent."""

from __future__ import annotations

import asyncio

import pytest
import sentry_sdk
from opentelemetry import baggage
from opentelemetry import context as contexts
from opentelemetry.sdk.trace import TracerProvider

from django_gearman import GearmanWorker
from django_gearman.contrib.otel import OpenTelemetryMiddleware
from tests.contrib.sentry import work

pytestmark = pytest.mark.gearman("memory", raise_failures=False)


def trace_of(event) -> dict:
    return event["contexts"]["trace"]


@pytest.fixture
def run_in_view(gearman_worker):
    """Return a function that submits a job in a transaction, and runs it afterwards."""

    def run(submit) -> None:
        with sentry_sdk.start_transaction(op="http.server", name="view"):
            submit()
        gearman_worker.run()

    return run


def test_the_trace_continues_in_the_job(sentry, run_in_view):
    inbox = sentry()

    run_in_view(lambda: work.pays.do_background("4111", 1))

    view, job = inbox.transactions
    [publish] = view["spans"]
    assert (publish["op"], trace_of(job)["op"]) == ("queue.publish", "queue.process")
    assert trace_of(job)["parent_span_id"] == publish["span_id"]
    traces = {trace_of(each)["trace_id"] for each in (view, job, inbox.event)}
    assert traces == {publish["trace_id"]}
    assert (job["transaction"], job["transaction_info"]) == (
        "tests.contrib.sentry.work.pays",
        {"source": "task"},
    )


def test_names_are_those_of_sentrys_conventions(sentry, run_in_view, gearman_client):
    inbox = sentry()

    run_in_view(lambda: work.succeeds.do_background(1))

    view, job = inbox.transactions
    common = {
        "messaging.system": "gearman",
        "messaging.destination.name": "shop",
        "messaging.message.id": gearman_client.submitted[0].id,
    }
    published, processed = view["spans"][0]["data"], trace_of(job)["data"]
    assert common.items() <= published.items()
    assert common.items() <= processed.items()
    assert processed["messaging.message.retry.count"] == 0
    assert published["messaging.message.body.size"] > 0
    assert 0 <= processed["messaging.message.receive.latency"] < 600_000
    assert trace_of(job)["status"] == "ok"


def test_a_retry_continues_the_trace_and_has_no_latency(sentry, run_in_view):
    inbox = sentry()

    run_in_view(lambda: work.flaky.do_background(1))

    view, first, second = inbox.transactions
    assert {trace_of(each)["trace_id"] for each in (view, first, second)} == {
        trace_of(view)["trace_id"]
    }
    assert trace_of(second)["data"]["messaging.message.retry.count"] == 1
    assert "messaging.message.receive.latency" not in trace_of(second)["data"]
    assert [trace_of(each)["status"] for each in (first, second)] == ["internal_error", "ok"]


def test_without_tracing_errors_have_the_trace_of_the_submitter(sentry, gearman_worker):
    inbox = sentry(traces_sample_rate=None)

    sentry_sdk.capture_message("view")
    work.pays.do_background("4111", 1)
    gearman_worker.run()

    view, job = inbox.events
    assert trace_of(view)["trace_id"] == trace_of(job)["trace_id"]
    assert inbox.transactions == []


def test_traces_are_not_propagated_on_request(sentry, run_in_view, gearman_client):
    inbox = sentry(gearman={"propagate_traces": False})

    run_in_view(lambda: work.succeeds.do_background(1))

    view, job = inbox.transactions
    assert trace_of(view)["trace_id"] != trace_of(job)["trace_id"]


def test_many_jobs_are_one_publication(sentry, run_in_view):
    inbox = sentry()

    run_in_view(lambda: work.succeeds.enqueue_many([1, 2, 3]))

    view, *jobs = inbox.transactions
    [publish] = view["spans"]
    assert publish["description"] == "3 jobs"
    assert [trace_of(job)["parent_span_id"] for job in jobs] == [publish["span_id"]] * 3


@pytest.mark.gearmand
def test_tasks_of_one_loop_have_each_its_own_span(sentry, settings, own_gearmand):
    settings.GEARMAN_BACKEND, settings.GEARMAN_SERVERS = "gearman", [own_gearmand.address]
    inbox = sentry()

    async def views() -> None:
        with sentry_sdk.start_transaction(op="http.server", name="view"):
            await asyncio.gather(*(work.succeeds.ado_background(n) for n in range(20)))

    asyncio.run(views())

    [view] = inbox.transactions
    assert len(view["spans"]) == 20
    assert {span["parent_span_id"] for span in view["spans"]} == {trace_of(view)["span_id"]}


def test_coroutines_beside_each_other_have_each_its_own_scope(sentry, settings):
    settings.GEARMAN_BACKEND, settings.GEARMAN_OPTIONS = "memory", {"name": "sentry beside"}
    inbox = sentry()
    for number in range(10):
        work.fails_later.do_background(number)

    GearmanWorker(threads=5, clean_connections=False).work(burst=True)

    transactions = {each["tags"]["id"]: trace_of(each)["span_id"] for each in inbox.transactions}
    events = {each["tags"]["id"]: trace_of(each)["span_id"] for each in inbox.events}
    assert len(events) == 10
    assert events == transactions


def test_entries_of_the_project_stay(sentry, gearman_worker, settings):
    settings.GEARMAN_CONTEXT_PROVIDER = lambda: {
        "tenant": "a",
        "baggage": "user=7, sentry-trace_id=old",
    }
    sentry()

    with sentry_sdk.start_transaction(op="http.server", name="view"):
        request = work.succeeds.do_background(1)

    assert request.context["tenant"] == "a"
    items = request.context["baggage"].split(",")
    assert items[0] == "user=7"
    assert all(item.startswith("sentry-") for item in items[1:])
    assert "sentry-trace_id=old" not in items
    assert len(items) > 1


def test_opentelemetry_beside_it_keeps_its_own_trace(sentry, gearman_worker, settings):
    provider = TracerProvider(shutdown_on_exit=False)
    settings.GEARMAN_MIDDLEWARE = [lambda: OpenTelemetryMiddleware(provider)]
    sentry()

    token = contexts.attach(baggage.set_baggage("user", "7"))
    try:
        with sentry_sdk.start_transaction(op="http.server", name="view") as view:
            request = work.succeeds.do_background(1)
    finally:
        contexts.detach(token)

    assert {"traceparent", "sentry-trace"} <= request.context.keys()
    items = request.context["baggage"].split(",")
    assert items[0] == "user=7"
    assert f"sentry-trace_id={view.trace_id}" in items
