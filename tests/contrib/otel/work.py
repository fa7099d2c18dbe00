"""Jobs that look at the trace in which they run."""

from __future__ import annotations

from typing import Any

from opentelemetry import baggage, trace

from django_gearman import RetryJob, current_job, gearman_job

#: The span ids that jobs have seen as the current one.
SEEN: list[int] = []


def look() -> None:
    SEEN.append(trace.get_current_span().get_span_context().span_id)


@gearman_job("traced")
def looks(value: Any = None) -> Any:
    look()
    return value


@gearman_job("traced")
async def looks_later(value: Any = None) -> Any:
    look()
    return value


@gearman_job("traced")
def reads_its_context() -> dict[str, Any]:
    job = current_job()
    assert job is not None
    return {**job.context, "baggage in force": dict(baggage.get_all())}


@gearman_job("traced")
def submits_another() -> None:
    look()
    looks.do_background()


@gearman_job("traced", retries=2, backoff=0)
def fails_at_first(times: int) -> None:
    job = current_job()
    assert job is not None
    if job.attempt <= times:
        raise OSError(f"attempt {job.attempt}")


@gearman_job("traced")
def asks_for_another_run() -> None:
    job = current_job()
    assert job is not None
    if job.attempt < 2:
        raise RetryJob(0)


@gearman_job("traced")
def always_asks() -> None:
    raise RetryJob(0)


class _Failure(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@gearman_job("traced")
def raises_what_has_no_text() -> None:
    raise _Failure
