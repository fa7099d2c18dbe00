"""Traces and events of forked workers, by both SDKs as a project sets them up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.gearmand import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.gearmand]

FATAL = "from tests.contrib.gearman_jobs import *\nprint(kills_each_process.do_background().id)"
PROGRAM = """
import sentry_sdk
from opentelemetry import trace
from tests.contrib.gearman_jobs import works

with trace.get_tracer("view").start_as_current_span("view"):
    with sentry_sdk.start_transaction(op="http.server", name="view"):
        print(works.do_background(1).id, works.do_background(10).id)
"""


@pytest.mark.parametrize("slots", ["1", "3"])
@pytest.mark.parametrize("vendor", ["sqlite"])
def test_workers_send_spans_and_events_before_they_end(project, database, tmp_path, slots):
    file = Path(tmp_path) / "traces"
    project.set(
        DJANGO_SETTINGS_MODULE="tests.contrib.integration.traced_settings", TRACES=str(file)
    )

    def entries(kind: str) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in file.read_text().splitlines()]
        return [each for each in found if each["kind"] == kind]

    def wait_for_failures(number: int) -> None:
        sql = "SELECT COUNT(*) FROM gearman_jobrecord WHERE status = 'FAILED'"
        wait_until(lambda: database.query(sql) == [(number,)], f"{number} failures", 60)

    done, failed = project.python(PROGRAM).split()
    worker = project.worker("-w", "2", "--threads", slots)
    wait_until(lambda: len(project.lines()) == 2, "two runs", 60)
    wait_for_failures(1)
    assert project.stop(worker) == 0, project.output(worker)
    fatal = project.python(FATAL).strip()
    worker = project.worker("-w", "2")
    wait_for_failures(2)
    assert project.stop(worker) == 0, project.output(worker)

    # The supervisor reports each dead process, too, which is no event of a job.
    events = [(e["tags"]["id"], e["error"]) for e in entries("event") if "id" in e["tags"]]
    assert events == [(failed, "ValueError"), (fatal, "WorkerDied")]
    [view] = [each for each in entries("span") if each["name"] == "view"]
    runs = [each for each in entries("span") if each["name"] == "process trail"]
    assert [each["links"] for each in runs] == [[view["trace"]]] * 2  # a killed process sends none
    [of_view] = [each for each in entries("transaction") if "id" not in (each["tags"] or {})]
    of_runs = {each["tags"]["id"]: each["trace"] for each in entries("transaction") if each["tags"]}
    assert of_runs == {done: of_view["trace"], failed: of_view["trace"]}
