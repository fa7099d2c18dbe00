"""A Django project whose tasks run on one of the backends: BENCHMARK_TASKS names it."""

import os

SECRET_KEY = "only for the benchmark"
USE_TZ = True
SYSTEM = os.environ.get("BENCHMARK_TASKS", "gearman")
STORE = "django_gearman.contrib.store"
_GEARMAN = "django_gearman.contrib.tasks_backend.GearmanTaskBackend"

_APPS = {
    "gearman": ["django_gearman"],
    "stored": ["django_gearman", STORE],
    "outbox": ["django_gearman", STORE],
    "django-ox": ["django_ox"],
    "django-tasks-db": ["django_tasks_db"],
}
_BACKENDS = {
    "gearman": {"BACKEND": _GEARMAN},
    "stored": {"BACKEND": _GEARMAN},
    "outbox": {"BACKEND": _GEARMAN, "OPTIONS": {"OUTBOX": True}},
    "django-ox": {"BACKEND": "django_ox.backend.OxBackend"},
    "django-tasks-db": {"BACKEND": "django_tasks_db.DatabaseBackend"},
}

INSTALLED_APPS = _APPS[SYSTEM]
TASKS = {"default": _BACKENDS[SYSTEM]}
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": "127.0.0.1",
        "PORT": os.environ.get("BENCHMARK_POSTGRES", "0"),
        "USER": "test",
        "NAME": "postgres",
        "CONN_MAX_AGE": None,
    }
}
if SYSTEM == "gearman":
    DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
GEARMAN_SERVERS = os.environ.get("GEARMAN_SERVERS", "127.0.0.1:4730").split(",")
