"""Settings of a project that keeps them with dynaconf."""

import dynaconf

SECRET_KEY = "only for the tests"
INSTALLED_APPS = ["django_gearman", "tests.app"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
GEARMAN_BACKEND = "eager"

dynaconf.DjangoDynaconf(__name__)
