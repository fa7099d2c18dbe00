"""The example project, with jobs that leave marks."""

import os
import resource

from gearman_example.settings import *  # noqa: F403
from gearman_example.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.integration"]
if "GEARMAN_WORKERS" in os.environ:
    GEARMAN_WORKERS = os.environ["GEARMAN_WORKERS"].splitlines()
INSTALLED_APPS += os.environ.get("MORE_APPS", "").split()
if os.environ.get("BROKEN_APP"):
    INSTALLED_APPS.append("tests.integration.broken")
if "MEMORY_LIMIT" in os.environ:  # in MB, of each process
    limit = int(os.environ["MEMORY_LIMIT"]) << 20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
