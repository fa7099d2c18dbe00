"""The reference of the documentation, compared with the code: every public name has its entry."""

from __future__ import annotations

import argparse
import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand
from django.dispatch import Signal

import django_gearman
from django_gearman import conf, exceptions, logs, signals, testing
from django_gearman.backends.base import BaseBackend, Submission, WorkerSession
from django_gearman.backends.gearmand.options import GearmandOptions
from django_gearman.client.client import GearmanClient
from django_gearman.client.job import Job
from django_gearman.client.request import JobRequest
from django_gearman.jobs.context import JobContext
from django_gearman.jobs.options import Options
from django_gearman.middleware import Middleware
from django_gearman.testing.assertions import Assertions
from django_gearman.testing.client import ManualWorker, RecordingClient
from tests.support.pages import DOCS

REFERENCE = DOCS / "reference"
PACKAGE = Path(django_gearman.__file__).parent
SOURCES = {path: path.read_text() for path in PACKAGE.rglob("*.py")}


def page(name: str) -> str:
    return (REFERENCE / name).read_text()


def missing(names: list[str], name: str, like: str = "`{}`") -> list[str]:
    """Return an instruction for each name that a page does not have; `like` is how it stands there."""
    text = page(name)
    return [
        f"write {like.format(each)} into docs/reference/{name}, with its meaning"
        for each in names
        if like.format(each) not in text
    ]


def rows(text: str) -> Iterator[list[str]]:
    """Yield the cells of each row of the tables."""
    for line in text.splitlines():
        if line.startswith("| "):
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


def sections(text: str, level: str) -> dict[str, str]:
    """Return the text below each heading of a level."""
    parts = re.split(rf"^{level} (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


# Settings


def test_every_setting_has_a_section():
    assert missing(list(conf.DEFAULTS), "settings.md", "### {}\n") == []


def test_every_section_is_a_setting_with_its_default():
    documented = sections(page("settings.md"), "###")

    for name, text in documented.items():
        assert name in conf.DEFAULTS, (
            f"{name} is not a setting; delete it from docs/reference/settings.md"
        )
        [default] = re.findall(r"^Default: `(.+)`$", text, re.MULTILINE)
        expected = conf.DEFAULTS[name]
        expected = list(expected) if isinstance(expected, tuple) else expected
        assert ast.literal_eval(default) == expected, (
            f"the default of {name} in docs/reference/settings.md"
        )


def test_every_option_of_the_backend_is_listed_with_its_default():
    listed = {
        cells[0].strip("`"): cells[1] for cells in rows(page("settings.md")) if len(cells) == 3
    }

    for name, default in inspect.signature(GearmandOptions).parameters.items():
        assert listed.get(name) == f"{default.default:g}", (
            f"{name} of GEARMAN_OPTIONS in settings.md"
        )


# Names


def test_every_exception_is_listed():
    of_library = vars(exceptions).items()
    for_tests = [(name, getattr(testing, name)) for name in testing.__all__]
    names = [
        name
        for name, value in [*of_library, *for_tests]
        if inspect.isclass(value)
        and issubclass(value, BaseException)
        and value.__module__.startswith("django_gearman")
    ]
    assert len(names) >= 24
    assert missing(names, "exceptions.md", "| `{}` |") == []


def test_every_check_is_listed_with_what_it_finds():
    numbers = {
        number
        for path, text in SOURCES.items()
        if "checks" in path.name or "checks" in path.parts
        for number in re.findall(r"\b([EW]\d{3})\b", text)
    }
    assert len(numbers) >= 18
    assert missing(sorted(numbers), "checks.md", "| `django_gearman.{}` |") == []


def test_every_listed_check_exists():
    code = "".join(SOURCES.values())
    for number in re.findall(r"^\| `django_gearman\.(\w+)` \|", page("checks.md"), re.MULTILINE):
        assert number in code, f"{number} does not exist; delete it from docs/reference/checks.md"


def test_every_signal_is_listed_with_its_arguments():
    names = [name for name, value in vars(signals).items() if isinstance(value, Signal)]
    assert missing(names, "signals.md", "| `{}` |") == []


def test_every_option_of_a_submission_is_listed():
    assert missing([*inspect.signature(Options).parameters], "options.md", "| `{}`") == [], (
        "using()"
    )


def test_every_argument_of_the_decorator_is_described():
    names = [*inspect.signature(django_gearman.gearman_job).parameters]
    assert missing(names, "jobs.md", ":param {}:") == []


def test_every_attribute_of_a_running_job_is_listed():
    job = inspect.getsource(JobContext.__init__)
    names = [name for name in re.findall(r"self\.(\w+) =", job) if not name.startswith("_")]
    assert missing(names, "jobs.md", ".. attribute:: {}") == []


def test_every_log_field_is_listed():
    assert missing(list(logs._FIELDS), "logs.md", "| `{}` |") == []


@pytest.mark.parametrize("name", django_gearman.__all__)
def test_every_public_name_is_in_the_reference(name):
    pages = {path.name: path.read_text() for path in REFERENCE.glob("*.md")}
    assert any(re.search(rf"\b{name}\b", text) for text in pages.values()), (
        f"write {name} into a page of docs/reference"
    )


@pytest.mark.parametrize("name", testing.__all__)
def test_every_name_for_tests_is_in_the_reference(name):
    assert name in page("testing.md") + page("exceptions.md"), f"write {name} into testing.md"


@pytest.mark.parametrize("kind", [Assertions, RecordingClient, ManualWorker])
def test_every_method_for_tests_is_in_the_reference(kind):
    names = [name for name in vars(kind) if not name.startswith("_")]
    assert missing(names, "testing.md", "{}") == []


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (BaseBackend, "backends.md"),
        (Submission, "backends.md"),
        (WorkerSession, "backends.md"),
        (GearmanClient, "client.md"),
        (JobRequest, "client.md"),
        (Job, "jobs.md"),
        (Middleware, "middleware.md"),
    ],
)
def test_every_method_is_in_the_reference(kind, name):
    names = [each for each, value in vars(kind).items() if is_public(each, value)]
    found = re.findall(r"\w+", page(name))
    assert [f"write {each} into docs/reference/{name}" for each in names if each not in found] == []


#: Methods that other modules of the library call.
INTERNAL = {
    *("submit_call", "asubmit_call", "asubmit_calls", "map_items", "enqueue", "prepare"),
    *("wait_until", "check_submitted", "sent", "release"),
}


def is_public(name: str, value: object) -> bool:
    """Return True for methods and properties that are documented for users."""
    return (
        not name.startswith("_")
        and name not in INTERNAL
        and bool(getattr(value, "__doc__", None))
        and (inspect.isfunction(value) or isinstance(value, property))
    )


# Commands


COMMANDS = {
    path.stem: path
    for path in PACKAGE.rglob("management/commands/*.py")
    if not path.stem.startswith("_")
}


def own_options(command: str) -> list[str]:
    """
    Return the options of a command that are not Django's own.

    Those of an optional app that is not installed are read from its file.
    """
    if get_commands().get(command) is None:
        text = COMMANDS[command].read_text()
        shared = [
            f"--{each}"
            for each in ("log-format", "timeout")
            if f"add_{each.replace('-', '_')}(" in text
        ]
        return sorted({*shared, *re.findall(r'"(--?[a-z][\w-]*)"', text)})
    parser = load_command_class("django_gearman", command).create_parser("manage.py", command)
    plain = BaseCommand().create_parser("manage.py", command)
    known = {option for action in plain._actions for option in action.option_strings}
    return [
        option
        for action in parser._actions
        if action.help != argparse.SUPPRESS
        for option in action.option_strings
        if option not in known
    ]


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_a_section_with_every_option(command):
    documented = sections(page("commands.md"), "##")
    assert command in documented, f"write a section '## {command}' into docs/reference/commands.md"

    listed = " ".join(cells[0] for cells in rows(documented[command]))
    lacking = [option for option in own_options(command) if not re.search(rf"`{option}\b", listed)]

    assert lacking == [], f"write {', '.join(lacking)} into the table of {command} in commands.md"


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_documented_option_exists(command):
    documented = sections(page("commands.md"), "##")[command]
    first = " ".join(cells[0] for cells in rows(documented))
    known = {*own_options(command), "-v", "--verbosity"}

    unknown = [option for option in re.findall(r"`(--?\w[\w-]*)", first) if option not in known]

    assert unknown == [], (
        f"{command} has no {', '.join(unknown)}: correct docs/reference/commands.md"
    )
