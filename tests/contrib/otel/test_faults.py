"""Tracing that fails, or is not set up: the jobs run all the same."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest
from django.core.exceptions import ImproperlyConfigured
from opentelemetry import propagate, trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Sampler

from django_gearman import conf
from django_gearman.checks import check_settings
from django_gearman.contrib.otel import OpenTelemetryMiddleware
from django_gearman.utils import guarding
from tests.contrib.otel import work

ENTRY = "django_gearman.contrib.otel.middleware"
REMOTE = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"


class BrokenPropagator:
    fields = frozenset({"traceparent"})

    def inject(self, *args, **kwargs):
        raise LookupError("inject")

    def extract(self, *args, **kwargs):
        raise LookupError("extract")


class BrokenSampler(Sampler):
    def should_sample(self, *args, **kwargs):
        raise LookupError("sample")

    def get_description(self):
        return "broken"


class BrokenProcessor(SpanProcessor):
    def __init__(self, step: str) -> None:
        self.step = step

    def on_start(self, span, parent_context=None):
        if self.step == "start":
            raise LookupError("start")

    def on_end(self, span):
        if self.step == "end":
            raise LookupError("end")


@pytest.fixture(autouse=True)
def nothing_seen(monkeypatch):
    work.SEEN.clear()
    monkeypatch.setattr(guarding, "_logged", set())


def use(settings, provider: TracerProvider) -> None:
    settings.GEARMAN_MIDDLEWARE = [lambda: OpenTelemetryMiddleware(provider)]


@pytest.fixture(params=["propagator", "sampler", "start", "end"])
def broken(request, settings, monkeypatch) -> None:
    """Tracing that raises at one of its parts."""
    provider = TracerProvider(shutdown_on_exit=False)
    if request.param == "propagator":
        monkeypatch.setattr(propagate, "_HTTP_TEXT_FORMAT", BrokenPropagator())
    elif request.param == "sampler":
        provider = TracerProvider(BrokenSampler(), shutdown_on_exit=False)
    else:
        provider.add_span_processor(BrokenProcessor(request.param))
    use(settings, provider)


def test_jobs_run_and_return_although_tracing_fails(broken, gearman_client, caplog):
    assert [work.looks.do(n) for n in range(3)] == [0, 1, 2]

    records = [each for each in caplog.records if each.name == guarding.logger.name]
    assert {each.levelno for each in records} == {logging.WARNING}
    assert 1 <= len(records) <= 2  # at the submission and at the run, each once


def test_a_failed_job_has_its_own_error_although_tracing_fails(broken, gearman_client):
    with pytest.raises(OSError, match="attempt 1"):
        work.fails_at_first.do(1)
    assert trace.get_current_span() is trace.INVALID_SPAN


@pytest.mark.gearman("eager", raise_failures=False)
def test_an_exception_without_a_text_ends_its_span(traces, gearman_client):
    with pytest.raises(Exception, match="_Failure"):
        work.raises_what_has_no_text.do()

    assert traces.one("process").attributes["error.type"].endswith("_Failure")


def test_the_current_span_is_put_back_after_a_fault(settings, gearman_client):
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BrokenProcessor("end"))
    use(settings, provider)

    work.looks.do(1)

    assert trace.get_current_span() is trace.INVALID_SPAN


# Without an SDK


def test_without_an_sdk_jobs_run_and_carry_nothing(settings, gearman_client):
    settings.GEARMAN_MIDDLEWARE = [ENTRY]

    assert "traceparent" not in work.reads_its_context.do()


def test_without_an_sdk_a_trace_is_passed_on_unchanged(settings, gearman_client):
    settings.GEARMAN_MIDDLEWARE = [ENTRY]
    settings.GEARMAN_CONTEXT_PROVIDER = lambda: {"traceparent": REMOTE, "tracestate": "a=1"}

    seen = work.reads_its_context.do()

    assert (seen["traceparent"], seen["tracestate"]) == (REMOTE, "a=1")


def test_a_sampler_that_takes_nothing_is_respected(settings, gearman_client):
    use(settings, TracerProvider(ALWAYS_OFF, shutdown_on_exit=False))

    seen = work.reads_its_context.do()

    assert seen["traceparent"].endswith("-00") or seen["traceparent"].endswith("-02")


def test_without_the_api_the_error_says_how_to_install_it():
    script = (
        "import sys\n"
        "sys.modules['opentelemetry'] = None\n"
        "try:\n"
        "    import django_gearman.contrib.otel\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )

    printed = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout

    assert "pip install 'django-gearman[otel]'" in printed


# The setting


@pytest.mark.parametrize("value", ["yes", 1, None, [], "False"])
def test_a_wrong_setting_is_named(settings, value):
    settings.GEARMAN_MIDDLEWARE = [lambda: OpenTelemetryMiddleware()]
    settings.GEARMAN_OTEL_PARENT = value

    with pytest.raises(ImproperlyConfigured, match="GEARMAN_OTEL_PARENT is True or False"):
        conf.otel_parent()
    assert [error.id for error in check_settings()] == ["django_gearman.E015"]
