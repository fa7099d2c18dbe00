"""Mistakes of newcomers, each with the message that docs/how-to/my-job-never-runs.md explains."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from django_gearman.testing.gearmand import free_port
from tests.support.gearmand import Gearmand

pytestmark = [pytest.mark.integration, pytest.mark.gearmand]

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "how-to" / "my-job-never-runs.md").read_text()
ROWS = re.findall(r"^\| `([^|]+)` \|", PAGE.partition("## Messages")[2], re.MULTILINE)

SETTINGS = """
SECRET_KEY = "only for a test"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "django_gearman", "shop",]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
"""
JOB = """
from django_gearman import gearman_job

@gearman_job
def reverse(text):
    return text[::-1]
"""
MANAGE = (ROOT / "manage.py").read_text().replace("gearman_example.settings", "mysite.settings")
BACKGROUND = "from shop.gearman_jobs import reverse; reverse.do_background('abc')"
BY_NAME = "from django_gearman import GearmanClient; GearmanClient().submit_job('shop.reverse', 1)"


class Newcomer:
    """A small project with one job, and the commands that its author types."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self.environment = {
            **{name: value for name, value in os.environ.items() if "DJANGO" not in name},
            "PYTHONPATH": str(ROOT),
        }
        for module in ("mysite", "shop"):
            (folder / module).mkdir()
            (folder / module / "__init__.py").touch()
        self.write("manage.py", MANAGE)
        self.write("shop/gearman_jobs.py", JOB)
        self.settings(f'GEARMAN_SERVERS = ["127.0.0.1:{port}"]\n')

    def write(self, path: str, text: str) -> None:
        (self.folder / path).write_text(text)

    def settings(self, more: str = "", without: str = "") -> None:
        servers = f'GEARMAN_SERVERS = ["127.0.0.1:{self.port}"]\n'
        self.write("mysite/settings.py", SETTINGS.replace(f'"{without}",', "") + servers + more)

    def type(self, *command: str, folder: Path | None = None) -> str:
        """Run a command, and return its output."""
        run = subprocess.run(
            [sys.executable, *command],
            cwd=folder or self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return run.stdout + run.stderr

    def manage(self, *command: str) -> str:
        return self.type("manage.py", *command)

    def shell(self, code: str) -> str:
        return self.manage("shell", "-v", "0", "-c", code)


def without_library(newcomer: Newcomer) -> str:
    newcomer.settings(without="django_gearman")
    return newcomer.manage("gearman_worker")


def submits_without_library(newcomer: Newcomer) -> str:
    newcomer.settings(without="django_gearman")
    return newcomer.shell(BACKGROUND)


def without_settings(newcomer: Newcomer) -> str:
    return newcomer.type("-m", "django", "gearman_worker")


def with_other_settings(newcomer: Newcomer) -> str:
    newcomer.environment["DJANGO_SETTINGS_MODULE"] = "mysit.settings"
    return newcomer.manage("gearman_worker")


def in_another_directory(newcomer: Newcomer) -> str:
    return newcomer.type("manage.py", "gearman_worker", folder=newcomer.folder / "shop")


def before_setup(newcomer: Newcomer) -> str:
    newcomer.environment["DJANGO_SETTINGS_MODULE"] = "mysite.settings"
    return newcomer.type("-c", BACKGROUND)


def without_jobs(newcomer: Newcomer) -> str:
    newcomer.settings(without="shop")
    return newcomer.manage("gearman_worker")


def without_app(newcomer: Newcomer) -> str:
    newcomer.settings(without="shop")
    return newcomer.shell(BACKGROUND)


def in_another_file(newcomer: Newcomer) -> str:
    (newcomer.folder / "shop/gearman_jobs.py").rename(newcomer.folder / "shop/gearman_job.py")
    return newcomer.manage("gearman_worker")


def by_name_without_decorator(newcomer: Newcomer) -> str:
    newcomer.write("shop/gearman_jobs.py", f"{JOB}\ndef other(): ...\n")
    return newcomer.shell(BY_NAME.replace("reverse", "other"))


def without_decorator(newcomer: Newcomer) -> str:
    newcomer.write("shop/gearman_jobs.py", JOB.replace("@gearman_job", ""))
    return newcomer.shell(BACKGROUND)


def misspelt(newcomer: Newcomer) -> str:
    return newcomer.shell(BY_NAME.replace("reverse", "revers"))


def method(newcomer: Newcomer) -> str:
    source = "class Shop:\n    @gearman_job\n    @classmethod\n    def send(cls): ...\n"
    newcomer.write("shop/gearman_jobs.py", JOB + source)
    return newcomer.manage("check")


def generator(newcomer: Newcomer) -> str:
    newcomer.write("shop/gearman_jobs.py", JOB.replace("return", "yield"))
    return newcomer.manage("check")


def of_another_library(newcomer: Newcomer) -> str:
    return newcomer.shell(BACKGROUND.replace("do_background", "delay"))


def model(newcomer: Newcomer) -> str:
    user = "from django.contrib.auth.models import User; "
    return newcomer.shell(user + BACKGROUND.replace("'abc'", "User()"))


def arguments(newcomer: Newcomer) -> str:
    return newcomer.shell(BACKGROUND.replace("'abc'", ""))


def result(newcomer: Newcomer) -> str:
    return newcomer.shell(f"{BACKGROUND}.result")


def without_server(newcomer: Newcomer) -> str:
    newcomer.port = free_port()
    newcomer.settings()
    return newcomer.shell(BACKGROUND)


def url(newcomer: Newcomer) -> str:
    newcomer.settings(f'GEARMAN_SERVERS = ["http://127.0.0.1:{newcomer.port}"]\n')
    return newcomer.manage("check")


def misspelt_setting(newcomer: Newcomer) -> str:
    newcomer.settings("GEARMAN_SERVER = GEARMAN_SERVERS\n")
    return newcomer.manage("check")


def another_program(newcomer: Newcomer) -> str:
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        newcomer.port = server.server_port
        newcomer.settings()
        output = newcomer.shell(BACKGROUND)
        server.shutdown()
        thread.join()
    return output


def second_server(newcomer: Newcomer) -> str:
    return newcomer.manage("gearman_server")


def without_worker(newcomer: Newcomer) -> str:
    return newcomer.shell(BACKGROUND.replace("do_background", "using(wait=4).do"))


def misspelt_queue(newcomer: Newcomer) -> str:
    return newcomer.manage("gearman_worker", "-q", "mial")


def worker_of_eager(newcomer: Newcomer) -> str:
    newcomer.settings('GEARMAN_BACKEND = "eager"\n')
    return newcomer.manage("gearman_worker")


MISTAKES = {
    "Unknown command: 'gearman_worker'": without_library,
    "'django_gearman' is not in INSTALLED_APPS": submits_without_library,
    "No Django settings specified": without_settings,
    "No module named 'mysit'": with_other_settings,
    "can't open file": in_another_directory,
    "Django has not loaded the apps yet": before_setup,
    "no jobs are declared": without_jobs,
    "no worker loads that: add 'shop' to INSTALLED_APPS": without_app,
    "(django_gearman.E011) no worker loads the job": in_another_file,
    "has such a function without a decorator": by_name_without_decorator,
    "'function' object has no attribute 'do_background'": without_decorator,
    "no job is named 'shop.revers'; did you mean 'shop.reverse'?": misspelt,
    "is a method, and a job has no object to be called on": method,
    "so a call of it runs none of its code": generator,
    "to submit a job, write do_background(...)": of_another_library,
    "cannot serialize args[0]": model,
    "missing a required argument": arguments,
    "Gearman keeps no results of such jobs": result,
    "no job server to submit the job": without_server,
    "is a URL; write host:port": url,
    "GEARMAN_SERVER is not a setting": misspelt_setting,
    "is this really a job server?": another_program,
    "is in use, perhaps by another job server": second_server,
    "but no worker serves function": without_worker,
    "no job is in queue 'mial'": misspelt_queue,
    "whose jobs never leave the process": worker_of_eager,
}


@pytest.fixture(scope="module")
def server() -> Iterator[Gearmand]:
    with Gearmand() as gearmand:
        yield gearmand


def test_each_mistake_that_the_page_explains_is_made_here():
    assert list(MISTAKES) == ROWS


@pytest.mark.parametrize("message", MISTAKES)
def test_a_mistake_gets_the_message_that_the_page_explains(message, tmp_path, server):
    output = MISTAKES[message](Newcomer(tmp_path, server.port))

    assert message in output, output
