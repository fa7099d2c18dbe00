from __future__ import annotations

import pytest

from django_gearman import GearmanClient, environment
from django_gearman.client.request import JobRequest


@pytest.fixture
def client() -> GearmanClient:
    return GearmanClient()


@pytest.fixture(params=["production", "test"])
def where(request):
    """Run the test without and with the testing package around it."""
    if request.param == "test":
        yield
        return
    with environment.replaced(environment.PRODUCTION):
        yield


@pytest.fixture
def made(monkeypatch):
    """Count the requests that are made."""
    count: list[object] = []
    original = JobRequest.__init__

    def init(self, *args, **kwargs):
        count.append(self)
        original(self, *args, **kwargs)

    monkeypatch.setattr(JobRequest, "__init__", init)
    return count
