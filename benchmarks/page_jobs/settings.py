"""Its settings: the admin and the databases of the integration tests, and ten schedules."""

from importlib import import_module

_base = vars(import_module("tests.contrib.integration.settings"))
globals().update({name: value for name, value in _base.items() if name.isupper()})

INSTALLED_APPS = [*_base["INSTALLED_APPS"], "benchmarks.page_jobs"]
GEARMAN_STORE_ALL = True
GEARMAN_OUTBOX = False
GEARMAN_SCHEDULE = {
    f"every-{number}": {"job": f"shop.job{number}", "args": [0], "cron": "* * * * *"}
    for number in range(10)
}
