"""Settings of the processes of these measurements."""

from benchmarks.settings import *  # noqa: F403

GEARMAN_JOB_TIMEOUT = None
