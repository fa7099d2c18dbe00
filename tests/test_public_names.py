"""The names that `from django_gearman import ...` offers."""

from __future__ import annotations

import subprocess
import sys
import typing
from pathlib import Path

import pytest

import django_gearman
from django_gearman import testing
from tests.app import gearman_jobs as jobs


@pytest.mark.parametrize("package", [django_gearman, testing], ids=lambda each: each.__name__)
def test_each_name_is_shown_and_can_be_imported(package):
    assert set(package.__all__) <= set(dir(package))
    for name in package.__all__:
        assert getattr(package, name, "absent") != "absent", name


def test_the_names_are_shown_before_anything_is_imported():
    code = "import django_gearman; print(*dir(django_gearman))"

    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )

    assert {"Job", "GearmanClient", "gearman_job", "__version__"} <= set(run.stdout.split())


def test_an_unknown_name_is_an_error():
    with pytest.raises(AttributeError, match="'django_gearman' has no attribute 'Jobs'"):
        _ = django_gearman.Jobs


def test_jobs_and_requests_are_named_in_annotations_by_their_types():
    assert isinstance(jobs.add, django_gearman.Job)
    assert typing.get_origin(django_gearman.Job[[int], int]) is django_gearman.Job
    assert typing.get_origin(django_gearman.JobRequest[int]) is django_gearman.JobRequest


def test_a_wrong_call_is_expected_to_be_an_error_of_both_type_checkers():
    """`make types` reports an ignore that is not needed, so each of these is an error in both."""
    module = Path(__file__).parent / "typed" / "user_module.py"
    wrong = [line for line in module.read_text().splitlines() if "ignore" in line.partition("#")[2]]

    assert [
        line for line in wrong if "# type: ignore" not in line or "# pyright: ignore" not in line
    ] == []
    assert len(wrong) > 25
