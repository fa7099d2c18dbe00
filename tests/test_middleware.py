"""GEARMAN_MIDDLEWARE: valid values, and the time of creation."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_gearman import conf, middleware
from django_gearman.checks import check_settings
from django_gearman.middleware import NONE, Middleware
from tests.app import gearman_jobs as jobs

MADE: list[Middleware] = []


@pytest.fixture(autouse=True)
def none_is_made_yet(monkeypatch):
    monkeypatch.setattr(middleware, "_built", (None, NONE))


class Counts(Middleware):
    def __init__(self) -> None:
        MADE.append(self)

    def around_run(self, run, proceed):
        return proceed()


class Blocks(Middleware):
    def around_asubmit(self, requests, submit):
        submit(requests)


class OnlyForLoops(Middleware):
    async def around_asubmit(self, requests, submit):
        await submit(requests)


class Plain:
    pass


class Waits(Middleware):
    async def around_run(self, run, proceed):
        return proceed()


def make() -> Middleware:
    return Counts()


def fails() -> Middleware:
    raise LookupError("no table")


@pytest.mark.parametrize("setting", [[], ()])
def test_without_any_there_is_none(settings, setting):
    settings.GEARMAN_MIDDLEWARE = setting

    assert conf.middleware() is NONE


@pytest.mark.parametrize("element", [f"{__name__}.Counts", f"{__name__}.make", Counts, make])
def test_a_class_or_a_function_makes_one_for_all_jobs(settings, gearman_client, element):
    MADE.clear()
    settings.GEARMAN_MIDDLEWARE = [element]

    jobs.echo.do(1)
    jobs.echo.do(2)

    assert len(MADE) == 1


def test_another_setting_makes_others(settings):
    MADE.clear()
    settings.GEARMAN_MIDDLEWARE = [lambda: Counts()]
    conf.middleware()
    settings.GEARMAN_MIDDLEWARE.append(Counts)

    assert len(conf.middleware().around_run) == 2
    assert len(MADE) == 3


def test_a_method_that_only_passes_on_costs_nothing(settings):
    settings.GEARMAN_MIDDLEWARE = [Counts]

    chain = conf.middleware()

    assert (len(chain.around_submit), len(chain.around_run)) == (0, 1)


WRONG = [
    ("tests.app", "GEARMAN_MIDDLEWARE is a list"),
    (5, "GEARMAN_MIDDLEWARE is a list"),
    ([Counts, "no.such.Thing"], r"GEARMAN_MIDDLEWARE\[1\] is 'no\.such\.Thing': No module"),
    ([f"{__name__}.MADE"], r"GEARMAN_MIDDLEWARE\[0\].*must be the dotted path of a class"),
    ([None], r"GEARMAN_MIDDLEWARE\[0\] is None"),
    ([fails], r"GEARMAN_MIDDLEWARE\[0\].*raised LookupError\('no table'\)"),
    ([Plain], r"GEARMAN_MIDDLEWARE\[0\].*must be a subclass"),
    ([Waits], r"GEARMAN_MIDDLEWARE\[0\].*around_run is a coroutine function"),
    ([Blocks], r"GEARMAN_MIDDLEWARE\[0\].*around_asubmit is no coroutine function.*with async"),
    ([OnlyForLoops], r"GEARMAN_MIDDLEWARE\[0\].*has around_asubmit; it needs around_submit"),
]


@pytest.mark.parametrize(("setting", "message"), WRONG)
def test_a_wrong_one_is_named(settings, gearman_client, setting, message):
    settings.GEARMAN_MIDDLEWARE = setting

    with pytest.raises(ImproperlyConfigured, match=message):
        jobs.echo.do(1)
    assert [error.id for error in check_settings()] == ["django_gearman.E015"]
