"""Settings of processes that trace by both SDKs; what they send is appended to the file TRACES."""

import json
import os
from typing import Any

import sentry_sdk
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from sentry_sdk.transport import Transport

from django_gearman.contrib.sentry import GearmanIntegration
from tests.contrib.integration.settings import *  # noqa: F403

GEARMAN_MIDDLEWARE = ["django_gearman.contrib.otel.middleware"]


def write(kind: str, **entry: Any) -> None:
    """Append a line as a whole."""
    file = os.open(os.environ["TRACES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{json.dumps({'kind': kind, 'pid': os.getpid(), **entry})}\n".encode())
    os.close(file)


class Exporter(SpanExporter):
    def export(self, spans: Any) -> SpanExportResult:
        for span in spans:
            links = [f"{link.context.trace_id:032x}" for link in span.links]
            write("span", name=span.name, trace=f"{span.context.trace_id:032x}", links=links)
        return SpanExportResult.SUCCESS


class FileTransport(Transport):
    def capture_envelope(self, envelope: Any) -> None:
        for item in envelope.items:
            if item.type in ("event", "transaction"):
                content = item.payload.json
                error = (content.get("exception") or {"values": [{}]})["values"][-1].get("type")
                trace_id = content["contexts"]["trace"]["trace_id"]
                write(item.type, tags=content.get("tags"), error=error, trace=trace_id)


provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(Exporter(), schedule_delay_millis=60_000))
trace.set_tracer_provider(provider)
sentry_sdk.init(
    "http://key@127.0.0.1:9/1",
    transport=FileTransport,
    integrations=[GearmanIntegration()],
    traces_sample_rate=1.0,
)
