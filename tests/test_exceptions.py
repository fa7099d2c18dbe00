"""Every error of the package can be copied and pickled."""

from __future__ import annotations

import copy
import datetime
import pickle

import pytest

from django_gearman import exceptions
from django_gearman.client.request import JobRequest
from django_gearman.exceptions import GearmanError, JobRaised, SubmitUncertain
from django_gearman.jobs.retries import RetryJob
from tests.app import gearman_jobs as jobs


def every_error():
    yield SubmitUncertain("uncertain", [])
    yield JobRaised("job", exception_type="ValueError", message="no", traceback="Traceback")
    yield exceptions.ServerError("refused", code="queue_full", text="full")
    left = [GearmanError]
    while left:
        kind = left.pop()
        left += [each for each in kind.__subclasses__() if each.__module__ == exceptions.__name__]
        if kind not in (JobRaised,):
            yield kind("what happened")
    yield exceptions.InvalidBackend("wrong")
    yield RetryJob()
    yield RetryJob(30)
    yield RetryJob(datetime.timedelta(days=1))


ways = {
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "old pickle": lambda value: pickle.loads(pickle.dumps(value, protocol=0)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("way", ways)
@pytest.mark.parametrize("error", list(every_error()), ids=lambda error: type(error).__name__)
def test_every_error_can_be_copied_and_pickled(error, way):
    error.add_note("a note")
    same = ways[way](error)

    assert type(same) is type(error)
    assert str(same) == str(error)
    assert same.args == error.args
    assert vars(same) == vars(error)


class Late(RetryJob):
    def __init__(self):
        super().__init__(60)


class Refused(GearmanError):
    def __init__(self, *, reason):
        super().__init__(f"refused: {reason}")
        self.reason = reason


@pytest.mark.parametrize("way", ways)
def test_errors_of_a_projects_own_can_be_copied_too(way):
    assert ways[way](Late()).delay == 60
    assert ways[way](Refused(reason="none")).reason == "none"


@pytest.mark.parametrize("way", ways)
def test_the_requests_of_an_uncertain_submission_go_with_it(way, gearman_client):
    requests = [jobs.echo.do_background(1), gearman_client.submit_job("tests.app.echo", {"a": 2})]
    error = SubmitUncertain("uncertain", requests)
    requests[0].exception = error

    same = ways[way](error)

    assert str(same) == "uncertain"
    one, other = same.requests
    assert isinstance(one, JobRequest)
    assert (one.handle, one.state) == (requests[0].handle, requests[0].state)
    assert other.result == {"a": 2}
