"""Settings of the processes of the integration tests: a real database, a real gearmand."""

import json
import os

from tests.contrib.settings import *  # noqa: F403
from tests.contrib.settings import GEARMAN_EXTERNAL_JOBS, INSTALLED_APPS

DATABASES = json.loads(os.environ["TEST_DATABASES"])
if any("mysql" in each["ENGINE"] for each in DATABASES.values()):
    import pymysql

    pymysql.version_info = (2, 2, 7, "final", 0)  # as Django asks of mysqlclient
    pymysql.install_as_MySQLdb()
INSTALLED_APPS = [*INSTALLED_APPS, "tests.contrib.integration"]
GEARMAN_EXTERNAL_JOBS = [*GEARMAN_EXTERNAL_JOBS, "shop.*"]  # of the project in `dashboard`
GEARMAN_BACKEND = "gearman"
GEARMAN_SERVERS = os.environ.get("TEST_GEARMAND", "127.0.0.1:1").split(",")
GEARMAN_JOB_NAME = os.environ.get("TEST_JOB_NAME")
GEARMAN_OPTIONS = {}
GEARMAN_OUTBOX = json.loads(os.environ.get("TEST_OUTBOX", "true"))
GEARMAN_SCHEDULE = json.loads(os.environ.get("TEST_SCHEDULE", "{}"))
