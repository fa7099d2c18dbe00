"""Tests of the example's site: `pytest tests/example --ds=tests.contrib.settings`."""

from __future__ import annotations

import pytest
from django.conf import settings as django_settings

if "gearman_example.shop" not in django_settings.INSTALLED_APPS:
    collect_ignore_glob = ["*"]


@pytest.fixture(autouse=True)
def shop(settings, tmp_path, db):
    """Use the shop's settings, except its hosts, servers and database."""
    from gearman_example.shop import settings as of_shop

    own = {name for name in dir(of_shop) if name.isupper()}
    kept = {"ALLOWED_HOSTS", "DATABASES", "GEARMAN_SERVERS", "INSTALLED_APPS", "LOGGING"}
    for name in own - kept:
        setattr(settings, name, getattr(of_shop, name))
    settings.MEDIA_ROOT = tmp_path
    settings.DEBUG = False


@pytest.fixture(autouse=True)
def quick(monkeypatch, shop):
    """Leave out the pauses of the import."""
    from gearman_example.shop import gearman_jobs

    monkeypatch.setattr(gearman_jobs, "PAUSE", 0)


@pytest.fixture(autouse=True)
def jobs_only_fail(gearman_client):
    """Let the exceptions of jobs stay in the jobs, as on the site."""
    gearman_client.raise_failures = False
