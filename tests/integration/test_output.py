"""The output of a worker: with --log-format json each line is JSON, and no line comes from others."""

from __future__ import annotations

import json
import signal

import pytest

from tests.integration.conftest import Process, workers_ready
from tests.integration.test_processes import gearman
from tests.support.gearmand import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.gearmand]

JSON = "--log-format", "json"


def records(worker: Process) -> list[dict[str, object]]:
    """Return a worker's output, which must be JSON in each line."""
    return [json.loads(line) for line in worker.output.splitlines()]


def messages(worker: Process) -> str:
    return "\n".join(str(record["message"]) for record in records(worker))


def test_each_line_of_a_worker_is_json(launch, client, own_gearmand, monkeypatch):
    monkeypatch.setenv("GEARMAN_WORKERS", "-q mail")
    worker = launch("gearman_worker", *JSON)
    workers_ready(own_gearmand, 1)

    client.submit_job("tests.integration.make_noise", poll_timeout=30)
    wait_until(lambda: worker.output.count("in a thread") >= 2, "the noise")
    assert worker.stop() == 0

    assert all({"time", "level", "logger", "process", "message"} <= set(r) for r in records(worker))
    message = messages(worker)
    assert f"Job server: {own_gearmand.address}  up, gearmand " in message
    assert "Processes: 1 process serves all queues" in message
    assert "No worker in GEARMAN_WORKERS serves queue" in message
    assert "printed in parts and on" in message
    assert "one\ntwo" in message
    assert "without an end" in message
    assert "UserWarning: a warning" in message
    by_logger = {record["logger"]: record for record in records(worker)}
    assert by_logger["shop"]["job"] == "tests.integration.make_noise"
    assert r"uncaught exception in thread odd\nthread: ValueError" in message
    traces = [record["traceback"] for record in records(worker) if "traceback" in record]
    assert all("_fail" in str(trace) for trace in traces)


@pytest.mark.parametrize("arguments", [["--no-such-option"], ["-q", "nope"], ["-w", "0"]], ids=str)
def test_an_error_at_start_is_json(launch, own_gearmand, arguments):
    worker = launch("gearman_worker", *JSON, *arguments)

    assert worker.process.wait(30) != 0
    assert records(worker)[-1]["level"] == "ERROR"
    assert arguments[-1] in messages(worker)


def test_a_module_that_cannot_be_imported_is_json(launch, own_gearmand, monkeypatch):
    monkeypatch.setenv("BROKEN_APP", "1")
    worker = launch("gearman_worker", "--log-format=json")

    assert worker.process.wait(30) != 0
    [record] = records(worker)
    assert record["level"] == "CRITICAL"
    assert "no_such_module" in str(record["traceback"])


def test_quiet_is_quiet(launch, own_gearmand):
    text, lines = launch("gearman_worker", "-v", "0"), launch("gearman_worker", "-v", "0", *JSON)
    workers_ready(own_gearmand, 2)

    assert [text.stop(), lines.stop()] == [0, 0]
    assert [text.output, lines.output] == ["", ""]


FORGED = "2026-01-01 00:00:00,000 1 INFO all is well"


def test_no_text_of_a_client_makes_a_line_of_its_own(launch, client, own_gearmand):
    worker = launch("gearman_worker", "-v", "2")
    workers_ready(own_gearmand, 1)
    hostile = f"no\n{FORGED}\r\x1b[2J\u202e\u2028{FORGED}\x85{FORGED}"

    client.submit_job("tests.integration.raise_text", hostile, poll_timeout=30)
    workload = json.dumps({"args": [], "kwargs": {f"x\n{FORGED}": 1}}).encode()
    gearman(own_gearmand, "-f", "tests.integration.mark", input=workload)
    wait_until(lambda: worker.output.count("failed in attempt") == 2, "both failures")
    assert worker.stop(signal.SIGTERM) == 0

    assert not [line for line in worker.output.splitlines() if line.startswith(FORGED)]
    assert worker.output.replace("\n", "").isprintable()


@pytest.mark.parametrize("arguments", [[], JSON], ids=["text", "json"])
def test_code_that_cannot_be_loaded_is_reported_in_one_record(
    launch, own_gearmand, tmp_path, monkeypatch, arguments
):
    (tmp_path / "changing_settings.py").write_text("from tests.integration.settings import *\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    worker = launch(
        "gearman_worker", "--settings", "changing_settings", *arguments, "--grace-period", "5"
    )
    workers_ready(own_gearmand, 1)
    (tmp_path / "changing_settings.py").write_text("raise ValueError('no\\n' + 'forged')\n")

    worker.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "Reload failed" in worker.output, "the failure")
    workers_ready(own_gearmand, 1)
    assert worker.stop() == 0

    if arguments:
        [record] = [r for r in records(worker) if "Reload failed" in str(r["message"])]
        assert "ValueError: no" in str(record["traceback"])
        assert "changing_settings.py" in str(record["traceback"])
    else:
        first = worker.output.index("Reload failed")
        lines = worker.output[first:].splitlines()[1:]
        assert "  | ValueError: no" in lines
        assert "  | forged" in lines
        assert not [line for line in worker.output.splitlines() if line.startswith("forged")]
