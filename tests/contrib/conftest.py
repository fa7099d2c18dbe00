"""Tests of the optional parts: `pytest tests/contrib --ds=tests.contrib.settings`."""

from django.conf import settings

if "tests.contrib" not in settings.INSTALLED_APPS:
    collect_ignore_glob = ["*"]
