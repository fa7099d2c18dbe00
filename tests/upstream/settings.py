"""Settings of Django's own tests of tasks."""

SECRET_KEY = "only for the tests"
USE_TZ = True
INSTALLED_APPS = ["django_gearman", "tasks"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
LOGGING = {"version": 1, "loggers": {"django_gearman": {"level": "CRITICAL"}}}
