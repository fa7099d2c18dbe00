"""`gearman_worker --metrics`, as far as it goes before a process starts."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from django.core.management import CommandError, call_command

from django_gearman.management import metrics as core
from django_gearman.management.metrics import NoMetrics, load_metrics


@pytest.fixture(autouse=True)
def servers(use) -> None:
    use("127.0.0.1:1")


def test_a_worker_with_metrics_can_start(capsys):
    call_command("gearman_worker", "--check", "--metrics", "127.0.0.1:9191")

    assert "the worker can start" in capsys.readouterr().out


@pytest.mark.parametrize("address", ["nonsense", ":99999", "::1:80"])
def test_a_wrong_address_is_refused(address):
    with pytest.raises(CommandError, match="write host:port"):
        call_command("gearman_worker", "--check", "--metrics", address)


def test_a_directory_that_cannot_be_made_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    metrics = load_metrics("127.0.0.1:0", [])

    with pytest.raises(CommandError, match="needs a temporary directory, which TMPDIR can name"):
        metrics.open()

    metrics.close()


def test_a_missing_library_is_named_with_its_remedy(monkeypatch):
    monkeypatch.setattr(core, "_PART", "tests.contrib.metrics.without_library")

    with pytest.raises(CommandError, match=r"pip install 'django-gearman\[prometheus\]'"):
        load_metrics("127.0.0.1:9191", [])


def test_another_missing_module_is_not_a_missing_library(monkeypatch):
    monkeypatch.setattr(core, "_PART", "tests.contrib.metrics.no_such_module")

    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        load_metrics("127.0.0.1:9191", [])


def test_without_the_option_nothing_of_it_is_loaded():
    assert isinstance(load_metrics(None, []), NoMetrics)
    program = (
        "import sys, django; django.setup()\n"
        "from django_gearman.management.commands import gearman_worker\n"
        "names = 'prometheus_client', 'django_gearman.contrib.metrics'\n"
        "print([name for name in names if name in sys.modules])"
    )
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.contrib.settings"}

    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )

    assert done.stdout == "[]\n", done.stderr
