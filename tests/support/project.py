"""A project with jobs, for test sessions in separate processes."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent

SETTINGS = """
SECRET_KEY = "only for a test"
USE_TZ = True
INSTALLED_APPS = ["django_gearman", "shop"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
"""
JOBS = """
from django_gearman import gearman_job

RAN = []

@gearman_job
def add(left, right=10):
    return left + right

@gearman_job("mail")
def send(to):
    RAN.append(to)
    return "sent"

@gearman_job
def fail(message):
    raise ValueError(message)
"""


def run(project: pytest.Pytester, source: str, *arguments: str) -> pytest.RunResult:
    project.makepyfile(test_it="import pytest\nfrom shop.gearman_jobs import *\n" + source)
    return project.runpytest_subprocess("-p", "no:randomly", *arguments)
