"""A minimal Django project for the benchmark, which sets its servers."""

import os

SECRET_KEY = "only for the benchmark"
USE_TZ = True
INSTALLED_APPS = ["django_gearman", "benchmarks"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}

if "STORE" in os.environ:
    INSTALLED_APPS.append("django_gearman.contrib.store")
    DATABASES["default"]["NAME"] = os.environ["STORE"]

GEARMAN_BACKEND = os.environ.get("GEARMAN_BACKEND", "gearman")
GEARMAN_SERVERS = os.environ.get("GEARMAN_SERVERS", "127.0.0.1:4730").split(",")

if "BENCHMARK_POSTGRES" in os.environ:
    INSTALLED_APPS.append("django_gearman.contrib.store")
    DATABASES["default"] = {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": "127.0.0.1",
        "PORT": os.environ["BENCHMARK_POSTGRES"],
        "USER": "test",
        "NAME": "postgres",
    }
