"""Settings of the processes of these measurements."""

from benchmarks.settings import *  # noqa: F403

INSTALLED_APPS = ["django_gearman", "benchmarks.growth"]
GEARMAN_JOB_TIMEOUT = None
