"""The example project, with jobs that leave marks."""

import os
import resource

from gearman_example.settings import *  # noqa: F403
from gearman_example.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.integration", "tests.integration.opened"]
if "GEARMAN_WORKERS" in os.environ:
    GEARMAN_WORKERS = os.environ["GEARMAN_WORKERS"].splitlines()
INSTALLED_APPS += os.environ.get("MORE_APPS", "").split()
if os.environ.get("BROKEN_APP"):
    INSTALLED_APPS.append("tests.integration.broken")
if "MEMORY_LIMIT" in os.environ:  # in MB, of each process
    limit = int(os.environ["MEMORY_LIMIT"]) << 20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
if "TRAIL" in os.environ:
    NAME = f"{os.environ['TRAIL']}.sqlite3"
    DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": NAME}}
if "POSTGRES_PORT" in os.environ:
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": "127.0.0.1",
            "PORT": os.environ["POSTGRES_PORT"],
            "NAME": "postgres",
            "USER": "test",
            "CONN_MAX_AGE": int(os.environ.get("CONN_MAX_AGE", "0")),
            "OPTIONS": {"pool": {"min_size": 2, "max_size": 4}} if "POOL" in os.environ else {},
        }
    }
