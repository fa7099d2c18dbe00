"""Users of the admin, with their browsers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

#: The test client of a new user of the admin, who has these permissions of the store.
MakeStaff = Callable[..., Client]


@pytest.fixture
def staff(db: None) -> MakeStaff:
    def make(*permissions: str, name: str = "sam", enforce_csrf_checks: bool = False) -> Client:
        user = User.objects.create_user(name, is_staff=True)
        found = Permission.objects.filter(
            content_type__app_label="gearman_store", codename__in=permissions
        )
        assert {each.codename for each in found} == set(permissions)
        user.user_permissions.set(found)
        client = Client(enforce_csrf_checks=enforce_csrf_checks)
        client.force_login(user)
        return client

    return make


@pytest.fixture
def viewer(staff: MakeStaff) -> Client:
    """Return the browser of somebody who may see all pages, and do nothing."""
    return staff("view_jobrecord", "view_schedule", name="viewer")
