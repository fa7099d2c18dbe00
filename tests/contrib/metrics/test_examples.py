"""The dashboard and the alert rules of the documentation: they use metrics and labels that exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import Metric

from django_gearman.contrib.metrics.counting import RunCounter
from django_gearman.contrib.metrics.files import file_metrics
from django_gearman.contrib.metrics.folding import Folded
from django_gearman.contrib.metrics.processes import process_metrics
from django_gearman.contrib.metrics.servers import server_metrics
from django_gearman.contrib.metrics.store import store_metrics
from django_gearman.management.asking import Counts, Server
from django_gearman.supervisor import Status
from django_gearman.supervisor.overview import Overview

FOLDER = Path(__file__).parents[3] / "docs" / "how-to" / "metrics"
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text())
RULES = FOLDER / "alerts.yaml"
#: The metrics and their labels, as the documentation promises them.
PROMISED = {
    "gearman_jobs_total": {"job", "queue", "outcome"},
    "gearman_job_duration_seconds": {"job"},
    "gearman_job_wait_seconds": {"queue"},
    "gearman_jobs_submitted_total": {"job"},
    "gearman_jobs_running": {"queue"},
    "gearman_processes": {"state"},
    "gearman_process_deaths_total": {"reason"},
    "gearman_queue_jobs": {"server", "function", "state", "priority"},
    "gearman_queue_workers": {"server", "function"},
    "gearman_server_up": {"server"},
    "gearman_outbox_rows": {"state"},
    "gearman_outbox_oldest_seconds": set(),
    "gearman_schedule_last_tick_timestamp_seconds": {"schedule"},
    "gearman_store_errors_total": set(),
}


def expressions() -> Iterator[str]:
    """Yield each query of the dashboard and of the rules."""
    yaml = pytest.importorskip("yaml")
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        yield from (rule["expr"] for rule in group["rules"])


def made(directory: str) -> Iterator[Metric]:
    counter = RunCounter(directory)
    counter.add_store_errors(0)
    counter.add_submitted("a", 1)
    counter._run(counter._look(), "a", "b", "succeeded")
    counter.close()
    yield from file_metrics(directory, None, [])
    yield from process_metrics(Overview([], Status(1, 1, False), {}), ["default"])
    server = Server("here:4730", functions={"f": Counts(normal=1)})
    yield from server_metrics({"here:4730": server}, Folded())
    yield from store_metrics()


@pytest.mark.django_db(transaction=True)
def test_each_promised_metric_has_exactly_its_labels(settings, tmp_path):
    settings.GEARMAN_SCHEDULE = {}
    found: dict[str, set[str]] = {}
    for metric in made(str(tmp_path)):
        name = f"{metric.name}_total" if metric.type == "counter" else metric.name
        found[name] = {label for sample in metric.samples for label in sample.labels} - {"le"}

    unseen = {"gearman_schedule_last_tick_timestamp_seconds"}
    assert {name: labels for name, labels in PROMISED.items() if name not in unseen} == {
        name: labels for name, labels in found.items() if name not in unseen
    }
    assert found.keys() | unseen == PROMISED.keys()


def test_each_query_uses_metrics_and_labels_that_exist():
    for expression in expressions():
        names = re.findall(r"gearman_\w+", expression)
        assert names, expression
        labels = set[str]()
        for name in names:
            plain = re.sub(r"_seconds_(bucket|sum|count)$", "_seconds", name)
            assert plain in PROMISED, f"{name} in {expression}"
            labels |= PROMISED[plain]
        used = {
            label.strip()
            for listed in re.findall(r"(?:by|on) \(([^)]*)\)", expression)
            for label in listed.split(",")
        } | set(re.findall(r"[{,]\s*(\w+)\s*=~?", expression))
        assert used - {"le"} <= labels, expression


def test_the_dashboard_shows_each_metric_and_no_panel_overlaps_another():
    text = " ".join(target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"])
    assert [name for name in PROMISED if name not in text] == []
    cells = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for grid in [panel["gridPos"]]
        for x in range(grid["x"], grid["x"] + grid["w"])
        for y in range(grid["y"], grid["y"] + grid["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_each_alert_says_what_has_happened_and_how_bad_it_is():
    yaml = pytest.importorskip("yaml")
    rules = [
        rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
    ]

    assert len(rules) > 8
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["annotations"]["summary"], rule
        assert rule["labels"]["severity"] in ("warning", "critical"), rule


def promtool(*arguments: str, stdin: str | None = None) -> str:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")
    done = subprocess.run(
        [program, *arguments], input=stdin, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_accepts_each_query_of_the_dashboard(tmp_path):
    queries = {target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]}
    rules = [
        {"record": f"query:{number}", "expr": query.replace("$__rate_interval", "5m")}
        for number, query in enumerate(sorted(queries))
    ]
    file = tmp_path / "queries.yaml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))

    assert f"SUCCESS: {len(rules)} rules found" in promtool("check", "rules", str(file))


def test_promtool_accepts_the_rules():
    assert "SUCCESS" in promtool("check", "rules", str(RULES))
