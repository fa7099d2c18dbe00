"""The services of the attendant, as parts of the library add them."""

from __future__ import annotations

import pytest

from django_gearman.supervisor import Service
from django_gearman.worker import attendant


@pytest.fixture
def makers(monkeypatch):
    monkeypatch.setattr(attendant, "_makers", {})


def test_without_a_service_there_is_no_attendant(makers):
    assert attendant.attendant(attendant.services()) == []


def test_a_service_that_the_settings_do_not_ask_for_is_left_out(makers):
    attendant.add_service("prune", lambda: None)

    assert attendant.attendant(attendant.services()) == []


def test_services_share_one_attendant(makers):
    for name in ("prune", "relay"):
        attendant.add_service(name, lambda name=name: Service(name, lambda _: None))

    [slot] = attendant.attendant(attendant.services())

    assert (slot.name, slot.is_attendant, slot.is_worker) == ("attendant", True, False)


def test_a_service_added_twice_runs_once(makers):
    for every in (1, 2):
        attendant.add_service("prune", lambda every=every: Service("prune", lambda _: None, every))

    assert [service.every for service in attendant.services()] == [2]
