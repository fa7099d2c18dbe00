"""Settings of the example project."""

import os

SECRET_KEY = "only for the example"
TIME_ZONE = "UTC"
USE_TZ = True
INSTALLED_APPS = ["django_gearman", "gearman_example"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}

GEARMAN_BACKEND = os.environ.get("GEARMAN_BACKEND", "gearman")
GEARMAN_SERVERS = os.environ.get("GEARMAN_SERVERS", "127.0.0.1:4730").split(",")
GEARMAN_EXTERNAL_JOBS = ["gearman_example.shop.*"]  # another project, in the same folder
