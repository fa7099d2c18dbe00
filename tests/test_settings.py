"""Settings: conf, checks, and from GEARMAN_BACKEND to a backend."""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.test import override_settings

from django_gearman import GearmanClient, checks, conf
from django_gearman.backends import backend_settings, close_backends, get_backend, parse_servers
from django_gearman.backends.eager import EagerBackend
from django_gearman.backends.gearmand.backend import GearmandBackend
from django_gearman.backends.memory import MemoryBackend
from django_gearman.checks import check_settings
from django_gearman.client.job import Job
from django_gearman.exceptions import InvalidBackend
from django_gearman.jobs.registry import registry
from django_gearman.protocol.address import ServerAddress
from tests.app import gearman_jobs as jobs


def namer(name: str) -> str:
    return f"custom-{name}"


def same(name: str) -> str:
    return "same"


def reported(messages) -> str:
    return "\n".join(f"{message.id} {message.msg} {message.hint}" for message in messages)


def test_the_settings_of_the_tests_are_fine():
    assert check_settings() == []


def test_defaults_need_no_settings(settings):
    for name in conf.DEFAULTS:
        if hasattr(settings, name):
            delattr(settings, name)

    assert isinstance(get_backend(), GearmandBackend)
    assert parse_servers(backend_settings()[1]) == (ServerAddress("127.0.0.1", 4730),)
    assert check_settings() == []


@pytest.mark.parametrize(
    ("name", "backend"),
    [
        ("gearman", GearmandBackend),
        ("memory", MemoryBackend),
        ("eager", EagerBackend),
        ("django_gearman.backends.memory.MemoryBackend", MemoryBackend),
    ],
)
def test_a_backend_is_chosen_by_name_or_path(settings, name, backend):
    settings.GEARMAN_BACKEND = name
    settings.GEARMAN_OPTIONS = {}

    assert type(get_backend()) is backend


@pytest.mark.parametrize(
    ("changes", "number", "words"),
    [
        ({"BACKEND": "gearmand"}, "E001", "'python-gearman'"),
        ({"BACKEND": "no.such.Backend"}, "E001", "no.such.Backend"),
        ({"BACKEND": "django_gearman.client.client.GearmanClient"}, "E001", "not a subclass"),
        ({"BACKEND": None}, "E001", "GEARMAN_BACKEND is None"),
        ({"BACKEND": "gearman", "OPTIONS": {"timeout": 1}}, "E001", "'connect_timeout'"),
        ({"BACKEND": "eager", "OPTIONS": {"name": "x"}}, "E001", "it takes none"),
        ({"OPTIONS": [1]}, "E001", "must be a dict"),
        ({"SERVERS": "127.0.0.1:4730"}, "E001", "list of servers"),
        ({"SERVERS": []}, "E001", "empty"),
        ({"JOB_TIMEOUT": 0}, "E007", "GEARMAN_JOB_TIMEOUT is a number of seconds above 0"),
        ({"JOB_TIMEOUT": "5"}, "E007", "number of seconds"),
        ({"SUBMIT_ON_COMMIT": 1}, "E008", "True, False or a database's alias"),
        ({"SUBMIT_ON_COMMIT": ""}, "E008", "True, False or a database's alias"),
        ({"SUBMIT_ON_COMMIT": "othr"}, "E008", "'othr', but DATABASES has default"),
        ({"ON_COMMIT_FAILURE": "no"}, "E014", "is 'log' or 'raise', not 'no'"),
        ({"SEND_TRACEBACKS": "yes"}, "E012", "is True, False or None, not 'yes'"),
        ({"CONTEXT_PROVIDER": {"a": 1}}, "E009", "a function without arguments"),
        ({"CONTEXT_PROVIDER": "no.such"}, "E009", "No module named"),
        (
            {"BACKEND": "python-gearman"},
            "W002",
            "tests.integration.flaky: the transport has no delayed",
        ),
        ({"SERVERS": {"host": "a"}}, "E001", "list of servers"),
        ({"SERVERS": ["127.0.0.1:"]}, "E001", "'' is not a port number"),
        ({"SERVERS": ["a:99999"]}, "E001", "not a port number"),
        ({"SERVERS": ["::1:4730"]}, "E001", "[::1]:4730"),
        ({"SERVERS": [None]}, "E001", "not the address"),
        ({"SERVERS": [{"host": "a", "tsl": {}}]}, "E001", "not the address"),
        ({"SERVERS": [{"host": "a", "tls": {"ca": "x"}}]}, "E001", "'cafile'"),
        ({"SERIALIZER": "yaml"}, "E002", "json, pickle, raw"),
        ({"JOB_NAME": "no.such.function"}, "E003", "GEARMAN_JOB_NAME"),
        ({"JOB_NAME": "prefix.{nam}"}, "E003", "prefix.{name}"),
        ({"JOB_NAME": 5}, "E003", "callable"),
        ({"JOB_NAME": same}, "E003", "same function"),
        ({"JOB_NAME": lambda name: None}, "E003", "a function name is a string"),
        ({"JOB_NAME": "with space {name}"}, "E003", "spaces"),
        ({"EXTERNAL_JOBS": "php.*"}, "E004", "list of patterns"),
        ({"EXTERNAL_JOBS": 5}, "E004", "list of patterns"),
        ({"EXTERNAL_JOBS": None}, "E004", "for any name"),
        ({"JOB_NAME": lambda name: {}[name]}, "E003", "KeyError"),
        ({"SERVER": ["a"]}, "W001", "Did you mean GEARMAN_SERVERS?"),
        ({"COLOUR": "red"}, "W001", "Known are GEARMAN_BACKEND"),
    ],
)
def test_a_check_finds_what_is_wrong(settings, changes, number, words):
    for name, value in changes.items():
        setattr(settings, f"GEARMAN_{name}", value)

    [message] = check_settings()  # and no second one about the same fault

    assert number in reported([message])
    assert words in reported([message])


def test_a_check_finds_a_backoff_that_fails(monkeypatch):
    job = Job(len, name="odd-backoff", retries=1, backoff=lambda attempt: None)
    monkeypatch.setitem(registry._jobs, job.name, job)

    messages = reported(check_settings())

    assert "E010" in messages
    assert "the backoff of job odd-backoff, after attempt 1: TypeError" in messages


def test_each_number_is_for_one_check():
    numbers = re.findall(r'([EW]\d{3})"', Path(checks.__file__).read_text())
    assert len(numbers) > 10
    assert [number for number in numbers if numbers.count(number) > 1] == []


def test_manage_py_check_runs_the_check(settings):
    settings.GEARMAN_BACKEND = "gearmand"
    with pytest.raises(SystemCheckError, match=r"django_gearman\.E001"):
        call_command("check")


def test_a_wrong_setting_is_an_error_where_it_is_used(settings):
    settings.GEARMAN_SERVERS = "127.0.0.1:4730"
    with pytest.raises(InvalidBackend, match="GEARMAN_SERVERS must be a list"):
        GearmanClient().submit_job("tests.app.echo", 1)
    assert issubclass(InvalidBackend, ImproperlyConfigured)


def test_a_backend_of_ones_own_may_take_any_option(settings):
    settings.GEARMAN_BACKEND = f"{__name__}.AnyOptions"
    settings.GEARMAN_OPTIONS = {"anything": 1}

    assert get_backend().options == {"anything": 1}


class AnyOptions(MemoryBackend):
    def __init__(self, servers, **options):
        super().__init__(servers)
        self.options = options


def test_missing_bindings_are_an_error_that_says_what_to_install():
    script = (
        "import sys; sys.modules['gearman'] = None\n"
        "from django.conf import settings\n"
        "settings.configure(GEARMAN_BACKEND='python-gearman')\n"
        "from django_gearman.backends import get_backend\n"
        "get_backend()\n"
    )

    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )

    assert "pip install django-gearman[python-gearman]" in run.stderr


# However a project keeps its settings


def test_a_setting_may_be_assigned_at_any_time():
    with override_settings():  # puts all back
        django_settings.GEARMAN_BACKEND = "memory"
        assert backend_settings()[0] == "memory"

        django_settings.GEARMAN_BACKEND = "gearman"
        assert backend_settings()[0] == "gearman"

        del django_settings.GEARMAN_BACKEND
        assert backend_settings()[0] == conf.DEFAULTS["GEARMAN_BACKEND"]


def test_settings_that_are_left_out_stay_so():
    assert check_settings() == []
    assert jobs.add.do(1) == 11
    assert not hasattr(django_settings, "GEARMAN_SERIALIZER")


def test_dynaconf_may_keep_the_settings():
    script = (
        "import django; django.setup()\n"
        "from django.test import override_settings\n"
        "from django_gearman import conf\n"
        "from django_gearman.checks import check_settings\n"
        "from tests.app.gearman_jobs import add\n"
        "assert check_settings() == []\n"
        "with override_settings(GEARMAN_SERIALIZER='pickle'):\n"
        "    assert conf.serializer() == 'pickle'\n"
        "    with override_settings(GEARMAN_JOB_NAME='x.{name}'):\n"
        "        assert add.do(1) == 11\n"
        "assert conf.serializer() == 'json'\n"
        "from django.conf import settings\n"
        "settings.GEARMAN_SERIALIZER = 'raw'\n"
        "assert conf.serializer() == 'raw'\n"
        "settings.GEARMAN_SERIALIZER = 'json'\n"
        "print(add.do(1))\n"
    )

    run = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.support.dynaconf_settings"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (run.returncode, run.stdout) == (0, "11\n"), run.stderr


# One backend for each thread


def test_a_thread_keeps_its_backend_until_the_settings_change(settings):
    first = get_backend()
    assert get_backend() is first

    settings.GEARMAN_BACKEND = "memory"
    assert get_backend() is not first


def test_each_thread_has_its_own_backend():
    found = []
    thread = threading.Thread(target=lambda: found.append(get_backend()))
    thread.start()
    thread.join()

    assert found[0] is not get_backend()


def test_a_list_of_servers_may_be_changed_in_place(settings):
    settings.GEARMAN_BACKEND = "gearman"
    settings.GEARMAN_SERVERS = ["127.0.0.1:1"]
    first = get_backend()
    settings.GEARMAN_SERVERS.append("127.0.0.1:2")

    assert get_backend() is not first


def test_backends_of_ever_new_servers_are_not_all_kept(settings):
    settings.GEARMAN_BACKEND = "gearman"
    made = [weakref.ref(get_backend([f"127.0.0.1:{port}"])) for port in range(1, 50)]
    gc.collect()

    assert sum(backend() is not None for backend in made) < 10


def test_closed_backends_are_forgotten():
    first = get_backend()
    close_backends()

    assert get_backend() is not first


# Names on the wire


@pytest.mark.parametrize(
    ("setting", "function"),
    [
        (None, "app.job"),
        ("prefix.{name}", "prefix.app.job"),
        (namer, "custom-app.job"),
        (f"{__name__}.namer", "custom-app.job"),
        (lambda name: name, "app.job"),
    ],
)
def test_a_setting_names_the_function(settings, setting, function):
    settings.GEARMAN_JOB_NAME = setting

    assert conf.function_name("app.job") == function


def test_jobs_run_under_any_name_on_the_wire(settings):
    settings.GEARMAN_JOB_NAME = "site1.{name}"

    assert jobs.add.do(1) == 11
    assert "site1.tests.app.add" in {row.function for row in get_backend().functions()}
