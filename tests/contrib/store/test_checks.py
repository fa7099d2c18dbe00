"""System checks of the store, and errors where it is not installed."""

from __future__ import annotations

import pytest

from django_gearman import GearmanClient, gearman_job
from django_gearman.checks import check_settings
from django_gearman.exceptions import ResultUnavailable
from django_gearman.jobs import keeping
from tests.contrib import gearman_jobs as jobs


@pytest.fixture
def not_installed():
    """Remove the store, as if the app were not in INSTALLED_APPS."""
    keeper = keeping.keeper
    keeping.install_keeper(None)
    yield
    keeping.install_keeper(keeper)


def found() -> list[str]:
    return [f"{each.id} {each.msg} {each.hint}" for each in check_settings()]


def test_the_settings_of_these_tests_are_fine():
    assert found() == []


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("GEARMAN_STORE_ALL", "yes", "GEARMAN_STORE_ALL is True or False, not 'yes'"),
        ("GEARMAN_RESULT_TTL", 0, "GEARMAN_RESULT_TTL is a number of seconds above 0, not 0"),
        (
            "GEARMAN_FAILURE_TTL",
            "1d",
            "GEARMAN_FAILURE_TTL is a number of seconds above 0, not '1d'",
        ),
        ("GEARMAN_FAILURE_TTL", float("nan"), "seconds above 0, not nan"),
    ],
)
def test_wrong_settings_are_errors(name, value, message, settings):
    setattr(settings, name, value)

    [error] = found()
    assert error.startswith("django_gearman.E018")
    assert message in error


def test_stored_results_need_the_app(not_installed, settings):
    settings.GEARMAN_STORE_ALL = True

    errors = found()

    assert any("job tests.contrib.double declares store_result=True" in each for each in errors)
    assert any("GEARMAN_STORE_ALL is True, but no app stores results" in each for each in errors)
    assert all("Add 'django_gearman.contrib.store' to INSTALLED_APPS" in each for each in errors)


def test_without_the_app_a_job_runs_and_its_result_says_what_is_missing(
    not_installed, gearman_client, has_run
):
    request = jobs.double.do_background(1)

    assert has_run == [1]
    with pytest.raises(ResultUnavailable, match="to INSTALLED_APPS, and run"):
        request.result  # noqa: B018
    with pytest.raises(ResultUnavailable, match="to INSTALLED_APPS, and run"):
        GearmanClient().get_result(request.id)


@pytest.mark.parametrize("job_id", [None, 3, "", b"x", jobs.double])
def test_an_id_is_a_string(job_id):
    with pytest.raises(TypeError, match="a job's id is a string"):
        GearmanClient().get_result(job_id)


@pytest.mark.parametrize(
    ("declared", "error", "message"),
    [
        ({"store_result": 1}, TypeError, "store_result of job .* is True or False, not 1"),
        ({"result_ttl": -1}, ValueError, "result_ttl of job .* above 0, not -1"),
        ({"result_ttl": "1h"}, TypeError, "result_ttl of job .* not '1h'"),
        ({"sensitive": "card"}, TypeError, r"names of parameters like \(\"card\",\), not 'card'"),
        ({"sensitive": 3}, TypeError, "not 3"),
        ({"sensitive": [3]}, TypeError, "not 3"),
        ({"sensitive": ("crad",)}, ValueError, "has no parameter 'crad', it has card, amount"),
    ],
)
def test_wrong_declarations_are_errors(declared, error, message):
    def pay(card: str, amount: int) -> None: ...

    with pytest.raises(error, match=message):
        gearman_job(**declared)(pay)
