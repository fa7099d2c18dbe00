"""
The places of job declarations, and a check that workers load them.

A worker process knows the jobs of Django's start: each `gearman_jobs` module of an installed app,
and everything that these, models and `AppConfig.ready` import. A job that is declared later, by a
view or in a shell, exists in that process only. On a real job server it would wait forever.
"""

from __future__ import annotations

import ast
import inspect
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from django.apps import apps
from django.conf import settings

from .. import conf, environment
from ..backends import get_backend_class
from ..exceptions import JobNotRegistered, NotSetUp
from ..jobs.definition import JobDefinition
from ..jobs.names import default_name
from ..jobs.registry import registry

#: Files and directories with jobs of tests, or without code of the project.
_NO_JOBS = re.compile(
    r"(tests?|conftest|test_.*|.*_tests?)\.py|(tests?|migrations|node_modules|__pycache__|\..*)"
)
_DECLARES = re.compile(rb"^@[\w.]*gearman_job\b", re.MULTILINE)
_EXTERNAL = "If a program of your own serves it, name it in GEARMAN_EXTERNAL_JOBS."


class Misplaced(NamedTuple):
    """A job that no worker loads, with a remedy."""

    place: str
    remedy: str


def check_set_up() -> None:
    """Raise NotSetUp unless Django has loaded the apps, and this one is among them."""
    if not apps.models_ready:
        raise NotSetUp(
            "Django has not loaded the apps yet, so no job is known: submit jobs from "
            "AppConfig.ready() or later, and call django.setup() first in a program that is not "
            "started by manage.py"
        )
    if "django_gearman" not in apps.app_configs and not apps.is_installed("django_gearman"):
        raise NotSetUp(
            "'django_gearman' is not in INSTALLED_APPS, so the jobs of this project are not loaded, "
            "and no worker can be started: add it"
        )


def check_loaded(job: JobDefinition) -> None:
    """Raise JobNotRegistered for a job on a real job server that no worker loads."""
    if not job.is_late or environment.current().workers_are_here or get_backend_class().local:
        return
    if not conf.is_external(job.name):
        remedy = _remedy(job.func.__module__, Path(_file(job)))
        raise JobNotRegistered(
            f"job {job.name!r} is declared in {job.location}, and no worker loads that: {remedy}. "
            f"{_EXTERNAL}"
        )


def misplaced_jobs() -> list[Misplaced]:
    """Return the declarations of this project that no worker loads."""
    loaded = {_file(job) for job in registry.jobs() if not job.is_late}
    found: dict[str, Misplaced] = {}
    for module, path in _modules():
        if str(path) not in loaded:
            for line, name in _declarations(path, module):
                if not conf.is_external(name):
                    place = f"{path}:{line}"
                    found[place] = Misplaced(f"{name} ({place})", _remedy(module, path))
    for job in registry.jobs():
        path = Path(_file(job))
        known = any(place.startswith(f"{path}:") for place in found)
        is_of_test = _NO_JOBS.fullmatch(path.name) or {"test", "tests"}.intersection(path.parts)
        if job.is_late and not (known or is_of_test or conf.is_external(job.name)):
            found[job.location] = Misplaced(job.location, _remedy(job.func.__module__, path))
    return list(found.values())


def _file(job: JobDefinition) -> str:
    code = getattr(inspect.unwrap(job.func), "__code__", None)
    return os.path.realpath(code.co_filename) if code is not None else job.func.__module__


def _remedy(module: str, path: Path) -> str:
    for job in registry.jobs():
        if not job.is_late and _file(job) == str(path):
            return f"import it from {job.func.__module__}, as workers do, and not from {module}"
    app = apps.get_containing_app_config(module)
    package, has_jobs, _ = module.partition(".gearman_jobs")
    if app is not None and module.startswith(f"{app.name}.gearman_jobs."):
        return f"import {module} in {app.name}/gearman_jobs/__init__.py"
    if app is not None:
        return f"move it to {app.name}.gearman_jobs, or import its module there: import {module}"
    if has_jobs:
        return f"add {package!r} to INSTALLED_APPS"
    return "move it to gearman_jobs.py of an app in INSTALLED_APPS, or import its module there"


def _modules() -> Iterator[tuple[str, Path]]:
    """Yield the modules of the project's apps and of its settings' package, by name and file."""
    roots = {app.name: Path(app.path) for app in apps.get_app_configs()}
    package = (getattr(settings, "SETTINGS_MODULE", None) or "").rpartition(".")[0]
    if package and not _NO_JOBS.fullmatch(package.rpartition(".")[2]):
        spec = find_spec(package)
        for place in (spec.submodule_search_locations if spec is not None else None) or ():
            roots.setdefault(package, Path(place))
    for name, root in roots.items():
        if not {"site-packages", "dist-packages"}.intersection(root.parts):
            yield from _walk(name, Path(os.path.realpath(root)))


def _walk(package: str, directory: Path) -> Iterator[tuple[str, Path]]:
    entries: list[os.DirEntry[str]] = []
    with suppress(OSError):  # it is in a zip file, or unreadable
        entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
    for entry in entries:
        if _NO_JOBS.fullmatch(entry.name):
            continue
        path = directory / entry.name
        if entry.is_dir(follow_symlinks=False):
            if entry.name.isidentifier() and not (path / "pyvenv.cfg").exists():
                yield from _walk(f"{package}.{entry.name}", path)
        elif path.suffix == ".py":
            yield package if path.stem == "__init__" else f"{package}.{path.stem}", path


def _declarations(path: Path, module: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the name of each job that a file declares when it is imported."""
    try:
        source = path.read_bytes()
        if b"gearman_job" not in source or not _DECLARES.search(source):
            return
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(source)
    except (OSError, SyntaxError, ValueError):
        return  # importing it reports the error
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for decorator in node.decorator_list:
                called = decorator.func if isinstance(decorator, ast.Call) else decorator
                name = getattr(called, "attr", getattr(called, "id", ""))
                if name == "gearman_job":
                    yield node.lineno, _given_name(decorator) or default_name(module, node.name)


def _given_name(decorator: ast.expr) -> str:
    """Return the name that a decorator gives as plain text; "" if it gives none."""
    if not isinstance(decorator, ast.Call):
        return ""
    given = [each.value for each in decorator.keywords if each.arg == "name"]
    given += decorator.args[1:2]
    value = given[0].value if given and isinstance(given[0], ast.Constant) else ""
    return value if isinstance(value, str) else ""
