"""The settings of the workers."""

import os
import resource

SECRET_KEY = "only for soaking"
INSTALLED_APPS = ["django_gearman", "work"]
USE_TZ = True
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": f"{os.environ.get('TRAIL', 'soak')}.sqlite3",
        "OPTIONS": {"timeout": 60},
    }
}
GEARMAN_SERVERS = os.environ.get("GEARMAN_SERVERS", "127.0.0.1:4730").split(",")
GEARMAN_EXTERNAL_JOBS: list[str] = []

if "MEMORY_LIMIT" in os.environ:  # in MB, of each process
    limit = int(os.environ["MEMORY_LIMIT"]) << 20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
if "FILES_LIMIT" in os.environ:  # of descriptors, of each process
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(os.environ["FILES_LIMIT"]), most))
