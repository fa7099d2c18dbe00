"""The values of several processes, merged from their files."""

from __future__ import annotations

import logging
import os
import re
import subprocess
from collections.abc import Iterable

from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.samples import Sample

from django_gearman.contrib.metrics.directory import Directory
from django_gearman.contrib.metrics.files import file_metrics
from django_gearman.jobs.registry import registry

ENDED = "gearman_jobs_total"


def write(path, kind: str, name: str, metric: str, value: float, **labels: str) -> None:
    """Write a value as a process with files of this name does."""
    values = MmapedDict(str(path / f"{kind}_{name}.db"))
    family = re.sub("_(total|bucket)$", "", metric)
    key = mmap_key(family, metric, [*labels], [*labels.values()], "help")
    values.write_value(key, value, 0.0)
    values.close()


def read(path, live: Iterable[str] | None = None, jobs=()) -> dict[tuple[str, ...], float]:
    samples: list[Sample] = []
    for metric in file_metrics(str(path), live, jobs):
        samples += metric.samples
    return {(each.name, *map(str, each.labels.values())): each.value for each in samples}


def test_counters_of_all_processes_are_added(tmp_path):
    for number in range(3):
        write(tmp_path, "counter", f"slot{number}", "mine_total", 2, sort="a")

    assert read(tmp_path) == {("mine_total", "a"): 6}


def test_live_gauges_count_for_live_processes_only(tmp_path):
    for number in (1, 2, 3):
        write(tmp_path, "gauge_livesum", f"slot{number}", "busy", 1)
        write(tmp_path, "gauge_max", f"slot{number}", "peak", number)

    assert read(tmp_path, live={"slot1", "slot3"}) == {("busy",): 2, ("peak",): 3}
    assert read(tmp_path, live=None)["busy",] == 3, "all, if it is unknown who lives"


def test_a_file_that_is_being_made_is_passed_over(tmp_path):
    write(tmp_path, "counter", "slot1", "mine_total", 1)
    (tmp_path / "counter_slot2.db").touch()
    (tmp_path / "notes.txt").write_text("of somebody else")

    assert read(tmp_path) == {("mine_total",): 1}


def test_counts_of_strays_that_have_ended_are_moved_to_one_file(tmp_path):
    ended = subprocess.Popen(["true"])
    ended.wait()
    for name in (f"{ended.pid}", f"{os.getpid()}", "slot1"):
        write(tmp_path, "counter", name, "mine_total", 2)
        write(tmp_path, "gauge_all", name, "size", 5)
    write(tmp_path, "histogram", f"{ended.pid}", "took_bucket", 3, le="1.0")

    first = read(tmp_path)
    again = read(tmp_path)

    assert first["mine_total",] == again["mine_total",] == 6
    assert first["took_bucket", "1.0"] == again["took_bucket", "1.0"] == 3
    assert sum(key[0] == "size" for key in again) == 2, "a gauge of nobody says nothing"
    here = os.getpid()
    assert {path.name for path in tmp_path.iterdir()} == {
        *("counter_slot1.db", f"counter_{here}.db", "counter_strays.db"),
        *("gauge_all_slot1.db", f"gauge_all_{here}.db", "histogram_strays.db"),
    }


def test_a_damaged_file_costs_its_own_metrics_only(tmp_path, caplog):
    write(tmp_path, "counter", "slot1", "mine_total", 1)
    (tmp_path / "counter_slot2.db").write_bytes(b"\xff\x00\x00\x00" + b"nonsense" * 40)
    (tmp_path / "counter_slot3.db").write_bytes(b"x")

    with caplog.at_level(logging.ERROR, "django_gearman"):
        found = read(tmp_path)

    assert found == {("mine_total",): 1}
    assert "metrics of a damaged file are left out" in caplog.text


def test_declared_jobs_have_zeros_before_their_first_run(tmp_path):
    job = registry.get("tests.contrib.plain")
    labels = {"job": job.name, "queue": "default"}
    assert read(tmp_path, jobs=[job]) == {
        (ENDED, job.name, "default", "success"): 0,
        (ENDED, job.name, "default", "failure"): 0,
    }

    write(tmp_path, "counter", "slot1", ENDED, 4, outcome="failure", **labels)

    rows = read(tmp_path, jobs=[job])
    assert sorted(rows.values()) == [0, 4]


def test_a_directory_is_private_and_removed(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    directory = Directory()

    [made] = tmp_path.iterdir()
    assert made.stat().st_mode & 0o777 == 0o700
    directory.close()
    assert not made.exists()


def test_leftovers_of_a_killed_supervisor_are_removed_but_no_directory_in_use(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    used = Directory()
    left = tmp_path / "django-gearman-metrics-left"
    left.mkdir()
    (left / "counter_slot1.db").touch()
    target = tmp_path / "target"
    target.mkdir()
    (tmp_path / "django-gearman-metrics-link").symlink_to(target)

    another = Directory()

    assert not left.exists()
    assert target.exists()
    again = Directory(used.path)
    assert {each.name for each in tmp_path.iterdir()} >= {
        used.path.rpartition("/")[2],
        another.path.rpartition("/")[2],
    }
    for directory in (another, again):
        directory.close()
