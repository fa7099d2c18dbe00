"""Spans of submissions and runs, by OpenTelemetry's SDK."""

from __future__ import annotations

import asyncio
import datetime
import threading

import pytest
from django.db import transaction
from opentelemetry import baggage
from opentelemetry import context as contexts
from opentelemetry.trace import SpanKind, StatusCode

from django_gearman import GearmanClient, GearmanWorker
from django_gearman.contrib.store.outbox.relay import Relay
from django_gearman.contrib.store.scheduler.declared import schedules
from django_gearman.contrib.store.scheduler.ticking import Scheduler
from django_gearman.exceptions import JobRaised, ServerUnavailable
from tests.contrib.otel import work

memory = pytest.mark.gearman("memory", raise_failures=False)


@pytest.fixture(autouse=True)
def nothing_seen():
    work.SEEN.clear()


def is_child(span, parent) -> bool:
    return (
        span.parent is not None
        and span.parent.span_id == parent.context.span_id
        and span.context.trace_id == parent.context.trace_id
        and not span.links
    )


def is_linked(span, to) -> bool:
    """Return True if a span begins a trace, with a link to another one."""
    return (
        span.parent is None
        and [link.context.span_id for link in span.links] == [to.context.span_id]
        and span.context.trace_id != to.context.trace_id
    )


# Who is whose parent


@pytest.mark.parametrize("job", [work.looks, work.looks_later])
def test_a_foreground_job_is_a_part_of_its_callers_trace(traces, gearman_client, job):
    with traces.tracer.start_as_current_span("view"):
        job.do(1)

    view, send, run = traces.one("view"), traces.one("send"), traces.one("process")
    assert is_child(send, view)
    assert is_child(run, send)
    assert [run.context.span_id] == work.SEEN


@memory
@pytest.mark.parametrize("job", [work.looks, work.looks_later])
def test_a_background_job_begins_a_trace_and_links_to_its_submission(traces, gearman_worker, job):
    with traces.tracer.start_as_current_span("view"):
        job.do_background(1)
    gearman_worker.run()

    send, run = traces.one("send"), traces.one("process")
    assert is_child(send, traces.one("view"))
    assert is_linked(run, send)
    assert [run.context.span_id] == work.SEEN


@pytest.mark.gearman("eager")
def test_on_eager_it_is_the_same(traces, gearman_client):
    with traces.tracer.start_as_current_span("view"):
        work.looks.do_background(1)

    assert is_linked(traces.one("process"), traces.one("send"))


@memory
def test_the_setting_makes_it_a_child_in_any_case(traces, gearman_worker, settings):
    settings.GEARMAN_OTEL_PARENT = True

    work.fails_at_first.do_background(2)
    gearman_worker.run()

    send, runs = traces.one("send"), traces.named("process")
    assert [is_child(run, send) for run in runs] == [True] * 3


@memory
def test_each_retry_links_to_the_submission(traces, gearman_worker):
    work.fails_at_first.do_background(1)
    gearman_worker.run()

    send, runs = traces.one("send"), traces.named("process")
    assert [is_linked(run, send) for run in runs] == [True, True]
    assert len({run.context.trace_id for run in runs}) == 2
    assert [run.attributes["gearman.job.attempt"] for run in runs] == [1, 2]


@memory
def test_a_job_of_a_job_continues_the_trace_of_its_run(traces, gearman_worker):
    work.submits_another.do_background()
    gearman_worker.run()

    [first, second] = traces.named("send")
    [outer, inner] = traces.named("process")
    assert is_linked(outer, first)
    assert is_child(second, outer)
    assert is_linked(inner, second)


def test_coroutines_beside_each_other_have_each_its_own_span(traces, settings):
    settings.GEARMAN_BACKEND, settings.GEARMAN_OPTIONS = "memory", {"name": "otel beside"}
    work.looks_later.enqueue_many(range(20))

    GearmanWorker(threads=5, clean_connections=False).work(burst=True)

    runs = traces.named("process")
    assert [is_linked(run, traces.one("send")) for run in runs] == [True] * 20
    assert sorted(work.SEEN) == sorted(run.context.span_id for run in runs)
    assert len({*work.SEEN}) == 20


def test_map_is_one_submission(traces, gearman_client):
    assert work.looks.map([1, 2, 3]) == [1, 2, 3]

    send, runs = traces.one("send"), traces.named("process")
    assert send.attributes["messaging.batch.message_count"] == 3
    assert "messaging.message.id" not in send.attributes
    assert [is_child(run, send) for run in runs] == [True] * 3


@memory
def test_a_batch_for_several_queues_names_none(traces, gearman_worker):
    GearmanClient().submit_multiple_jobs(
        [{"task": "tests.contrib.otel.work.looks"}, {"task": "tests.contrib.plain", "data": 1}],
        background=True,
    )
    gearman_worker.run()

    send = traces.one("send")
    assert send.name == "send"
    assert "messaging.destination.name" not in send.attributes
    assert {run.name for run in traces.named("process")} == {"process traced", "process default"}


@memory
def test_enqueue_many_is_one_submission(traces, gearman_worker):
    work.looks.enqueue_many([1, 2])
    gearman_worker.run()

    assert [is_linked(run, traces.one("send")) for run in traces.named("process")] == [True] * 2


@pytest.mark.parametrize("transport", ["eager", "memory"])
def test_awaited_jobs_are_traced_alike(traces, request, transport):
    request.node.add_marker(pytest.mark.gearman(transport))
    request.getfixturevalue("gearman_client")

    async def view():
        with traces.tracer.start_as_current_span("view"):
            await work.looks_later.ado(1)
            await work.looks.ado_background(2)

    asyncio.run(view())

    view_span, sends = traces.one("view"), traces.named("send")
    assert [is_child(send, view_span) for send in sends] == [True, True]
    assert is_child(traces.named("process")[0], sends[0])


@pytest.mark.gearmand
def test_tasks_of_one_loop_have_each_its_own_trace(traces, settings, own_gearmand):
    settings.GEARMAN_BACKEND, settings.GEARMAN_SERVERS = "gearman", [own_gearmand.address]

    async def view(number: int) -> None:
        with traces.tracer.start_as_current_span(f"view {number}"):
            await asyncio.sleep(0)
            await work.looks.ado_background(number)
            await asyncio.sleep(0)

    async def views() -> None:
        before = set(threading.enumerate())
        await asyncio.gather(*map(view, range(20)))
        assert set(threading.enumerate()) <= before

    asyncio.run(views())

    sends = {send.parent.span_id: send for send in traces.named("send")}
    assert len(sends) == 20
    for span in traces.named("view"):
        assert is_child(sends[span.context.span_id], span)
        assert sends[span.context.span_id].attributes["server.port"] == own_gearmand.port


@pytest.mark.django_db(transaction=True)
def test_the_outbox_keeps_the_trace_of_the_submission(traces, gearman_client, settings):
    settings.GEARMAN_OUTBOX = True
    with (
        traces.tracer.start_as_current_span("view"),
        gearman_client.server_down(),
        transaction.atomic(),
    ):
        work.looks.do_background(1)
    assert traces.named("process") == []

    with traces.tracer.start_as_current_span("relay"):
        Relay("default").sweep()

    send = traces.one("send")
    assert is_child(send, traces.one("view"))
    assert is_linked(traces.one("process"), send)


@pytest.mark.django_db
def test_a_scheduled_job_links_to_its_tick(traces, gearman_client, settings):
    now = datetime.datetime(2026, 6, 1, 12, 0, tzinfo=datetime.UTC)
    settings.GEARMAN_SCHEDULE = {"look": {"job": "tests.contrib.otel.work.looks", "every": 60}}
    scheduler = Scheduler(schedules(), "default", lambda: now)
    scheduler.look()

    now += datetime.timedelta(seconds=61)
    scheduler.look()

    assert is_linked(traces.one("process"), traces.one("send"))


# Names and attributes


@memory
def test_names_and_attributes_are_those_of_the_conventions(traces, gearman_worker):
    request = work.looks.do_background(1)
    gearman_worker.run()

    common = {
        "messaging.system": "gearman",
        "messaging.destination.name": "traced",
        "messaging.message.id": request.id,
        "gearman.job.name": "tests.contrib.otel.work.looks",
    }
    send, run = traces.spans
    assert (send.name, send.kind) == ("send traced", SpanKind.PRODUCER)
    assert dict(send.attributes) == {
        **common,
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
    }
    assert (run.name, run.kind) == ("process traced", SpanKind.CONSUMER)
    assert dict(run.attributes) == {
        **common,
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "gearman.job.attempt": 1,
    }
    assert (send.status.status_code, run.status.status_code) == (StatusCode.UNSET,) * 2


@pytest.mark.gearmand
@pytest.mark.gearman("real")
def test_the_job_server_is_named_where_there_is_one(traces, gearman_server):
    host, port = gearman_server.address.rsplit(":", 1)

    work.looks.do_background(1)

    attributes = traces.one("send").attributes
    assert (attributes["server.address"], attributes["server.port"]) == (host, int(port))


@pytest.mark.gearman("eager", raise_failures=False)
def test_a_failed_run_has_its_error(traces, gearman_client):
    with pytest.raises(JobRaised):
        work.fails_at_first.do(1)

    run = traces.one("process")
    assert run.status.status_code is StatusCode.ERROR
    assert run.attributes["error.type"] == "OSError"
    [event] = run.events
    assert event.attributes["exception.message"] == "attempt 1"
    assert traces.one("send").status.status_code is StatusCode.UNSET


@memory
def test_asking_for_another_run_is_not_an_error(traces, gearman_worker):
    work.asks_for_another_run.do_background()
    gearman_worker.run()

    runs = traces.named("process")
    assert [run.status.status_code for run in runs] == [StatusCode.UNSET] * 2
    assert [event for run in runs for event in run.events] == []


@pytest.mark.gearman("eager", raise_failures=False)
def test_asking_for_another_run_of_a_foreground_job_is_an_error(traces, gearman_client):
    with pytest.raises(JobRaised):
        work.always_asks.do()

    assert traces.one("process").attributes["error.type"].endswith("RetryJob")


def test_a_submission_that_fails_has_its_error(traces, gearman_client):
    with gearman_client.server_down(), pytest.raises(ServerUnavailable):
        work.looks.do_background(1)

    send = traces.one("send")
    assert send.status.status_code is StatusCode.ERROR
    assert send.attributes["error.type"] == "django_gearman.exceptions.ServerUnavailable"


# Entries in the context


def test_entries_of_the_project_stay(traces, gearman_client, settings):
    settings.GEARMAN_CONTEXT_PROVIDER = lambda: {"tenant": "a", "tracestate": 5, "baggage": ["b"]}

    token = contexts.attach(baggage.set_baggage("user", "7"))
    try:
        with traces.tracer.start_as_current_span("view"):
            seen = work.reads_its_context.do()
    finally:
        contexts.detach(token)

    assert (seen["tenant"], seen["tracestate"], seen["baggage"]) == ("a", 5, ["b"])
    assert seen["traceparent"].split("-")[1] == f"{traces.one('view').context.trace_id:032x}"


@memory
def test_baggage_reaches_the_job(traces, gearman_worker, gearman_client):
    token = contexts.attach(baggage.set_baggage("user", "7"))
    try:
        request = work.reads_its_context.do_background()
    finally:
        contexts.detach(token)
    gearman_worker.run()

    assert request.context["baggage"] == "user=7"
    assert gearman_client.submitted[0].result["baggage in force"] == {"user": "7"}


@memory
@pytest.mark.parametrize(
    "entry",
    [
        "",
        "garbage",
        "00-" + "0" * 32 + "-" + "0" * 16 + "-01",
        "ff-" + "1" * 32 + "-" + "1" * 16 + "-01",
        "x" * 100_000,
        "00-\u0661" + "1" * 31 + "-" + "1" * 16 + "-01",
        None,
        7,
        ["00"],
        {"traceparent": "00"},
    ],
)
def test_an_entry_that_is_not_a_trace_begins_one(traces, gearman_worker, settings, entry):
    settings.GEARMAN_MIDDLEWARE = []
    settings.GEARMAN_CONTEXT_PROVIDER = lambda: {
        "traceparent": entry,
        "tracestate": entry,
        "baggage": entry,
    }
    work.looks.do_background(1)
    settings.GEARMAN_MIDDLEWARE = [traces.make_middleware]

    gearman_worker.run()

    run = traces.one("process")
    assert (run.parent, run.links, len(work.SEEN)) == (None, (), 1)


def test_a_stale_entry_is_not_passed_on(traces, gearman_client, settings):
    settings.GEARMAN_CONTEXT_PROVIDER = lambda: {"tracestate": "old=1", "baggage": "old=1"}

    assert {"tracestate", "baggage"}.isdisjoint(work.reads_its_context.do())


def test_jobs_of_other_programs_are_sent_as_they_are(traces, gearman_client):
    with gearman_client.stub("php.resize", returns=3):
        GearmanClient().submit_job("php.resize", 1)

    assert traces.one("send").attributes["messaging.destination.name"] == "php.resize"
    assert gearman_client.submitted[0].args == [1]


# Tasks of django.tasks


@memory
def test_tasks_of_django_are_traced_under_their_own_names(traces, gearman_worker):
    from tests.contrib.tasks_backend.work import aadd, add

    with traces.tracer.start_as_current_span("view"):
        results = [add.enqueue(1, 2), aadd.enqueue(1, 2)]
    gearman_worker.run()

    sends, runs = traces.named("send"), traces.named("process")
    assert [is_child(send, traces.one("view")) for send in sends] == [True, True]
    assert [is_linked(run, send) for run, send in zip(runs, sends, strict=True)] == [True, True]
    assert [run.attributes["messaging.message.id"] for run in runs] == [each.id for each in results]
    names = ["tests.contrib.tasks_backend.work.add", "tests.contrib.tasks_backend.work.aadd"]
    assert [run.attributes["gearman.job.name"] for run in runs] == names
    assert [send.attributes["gearman.job.name"] for send in sends] == names
    assert {each.attributes["messaging.destination.name"] for each in (*sends, *runs)} == {
        "default"
    }
