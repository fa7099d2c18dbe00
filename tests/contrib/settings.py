"""Settings of the tests of the optional parts: the store is installed."""

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS

INSTALLED_APPS = [
    "django.contrib.auth",
    *INSTALLED_APPS,
    "django_gearman.contrib.store",
    "tests.contrib",
]
