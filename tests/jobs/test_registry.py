"""Errors for names that no job has, and for projects without jobs."""

from __future__ import annotations

import pytest

from django_gearman.exceptions import JobNotRegistered
from django_gearman.jobs.registry import JobRegistry, registry
from tests.app import gearman_jobs


@pytest.fixture
def forgotten(monkeypatch):
    """Give tests.app.gearman_jobs a function without a decorator."""

    def forgotten(): ...

    forgotten.__module__ = gearman_jobs.__name__
    monkeypatch.setattr(gearman_jobs, "forgotten", forgotten, raising=False)


@pytest.mark.parametrize("name", ["tests.app.forgotten", "tests.app.gearman_jobs.forgotten"])
def test_a_function_without_a_decorator_is_named(forgotten, name):
    with pytest.raises(
        JobNotRegistered, match=r"tests\.app\.gearman_jobs has such a function .* write @"
    ):
        registry.get(name)
    assert "write @gearman_job above it. If another program" in str(registry.unknown(name))


@pytest.mark.parametrize(
    "name", ["forgotten", "tests.forgotten", "tests.app.time", "tests.app.", ""]
)
def test_other_names_are_not_taken_for_it(forgotten, name):
    with pytest.raises(JobNotRegistered) as caught:
        registry.get(name)

    assert "decorator" not in str(caught.value)


def test_without_jobs_the_modules_without_decorators_are_named(settings):
    there = r"with @gearman_job above each function; there are .*tests\.app\.gearman_jobs"
    with pytest.raises(ValueError, match=there):
        JobRegistry().select()
    with pytest.raises(JobNotRegistered, match=there):
        JobRegistry().get("tests.app.echo")

    settings.INSTALLED_APPS = ["django_gearman"]

    with pytest.raises(ValueError, match=r"gearman_jobs\.py of an app in INSTALLED_APPS$"):
        JobRegistry().select()
    with pytest.raises(JobNotRegistered, match=r"INSTALLED_APPS$"):
        JobRegistry().get("tests.app.echo")
