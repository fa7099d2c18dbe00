"""
The pages of the documentation, done word by word: each block of code runs in the project docs/project.

A block whose first line is a comment with a path is a file of that project; Python is added to a
file that is there. Other blocks of Python run in their order in one interpreter: on "eager", or on a
job server if a block has `<!-- run on: a job server -->` above it. Shell commands run beside a worker.
The output of `console` blocks is compared: numbers may have other digits, `...` stands for anything.

A block that cannot run has the reason above it, `<!-- not run: REASON -->`. Output without a command
has the name of the test that compares it, `<!-- checked by: TEST -->`.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import django
import pytest

from tests.support.gearmand import Gearmand, wait_until
from tests.support.pages import Page, environment, matches, pages, run, write_project

pytestmark = [pytest.mark.integration, pytest.mark.gearmand]

PAGES = {page.name: page for page in pages() if not page.name.startswith("tutorial/")}
MANAGE = "python manage.py "
STAYS = ("gearman_worker", "gearman_server")
ENDS = ("--check", "--burst", "--help")
#: The backport stands for django.tasks on Django 5.2.
BACKPORT = 'import sys, django_tasks\nsys.modules["django.tasks"] = django_tasks\n'
#: The page with the contract of backends, which skips what a backend has not.
CONTRACT = "reference/backends.md"


@pytest.fixture
def project(tmp_path) -> Path:
    return tmp_path / "project"


def prepare(page: Page, project: Path, server: Gearmand | None) -> None:
    write_project(page, project)
    if django.VERSION < (6, 0) and "from django.tasks import" in page.text:
        settings = project / "mysite" / "settings.py"
        settings.write_text(f"{BACKPORT}{settings.read_text()}")
    (project / "mysite" / "eager.py").write_text(
        "from mysite.settings import *\nGEARMAN_BACKEND = 'eager'\n"
    )
    if server is not None:
        settings = project / "mysite" / "settings.py"
        settings.write_text(settings.read_text().replace("4730", str(server.port)))


def has_workers(server: Gearmand) -> int:
    with suppress(OSError):  # it is not there yet
        return server.totals().get("send-mail", (0, 0, 0))[2]
    return 0


@contextmanager
def running(command: str, project: Path) -> Iterator[Path]:
    """Run a command that stays, with its output in a file; stop it with SIGTERM: it must exit with 0."""
    log = project / f"output-{time.monotonic_ns()}.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, *command.split()[1:]],
            cwd=project,
            env=environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )
    try:
        yield log
        assert process.poll() is None, log.read_text()
    finally:
        process.terminate()
        assert process.wait(60) == 0, log.read_text()


def on_a_server(page: Page) -> bool:
    return any(block.kind == "run on" for block in page.blocks)


def commands_of(page: Page) -> list[tuple[str, str]]:
    blocks = [block for block in page.blocks if block.kind != "not run"]
    return [command for block in blocks for command in block.commands()]


# Python


BEGIN = """
import django, doctest; django.setup()
from django.core.management import call_command as _call
_call("migrate", run_syncdb=True, verbosity=0)
def _session(code, name):
    test = doctest.DocTestParser().get_doctest(code, {}, name, None, 0)
    test.globs = globals()
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    assert not doctest.DocTestRunner(optionflags=flags).run(test, clear_globs=False).failed
"""


def snippets(page: Page) -> str:
    """Return the script of a page's blocks of Python that are no files, sessions included."""
    parts = [BEGIN]
    for block in page.blocks:
        if block.kind == "not run" or block.file:
            continue
        if block.language == "python":
            parts.append(f"# line {block.line}\n{block.code}")
        elif block.language == "pycon":
            parts.append(f"_session({block.code!r}, 'line {block.line}')")
    return "\n".join(parts)


WITH_PYTHON = [
    name
    for name, page in PAGES.items()
    if any(
        block.language in ("python", "pycon") and not block.file and block.kind != "not run"
        for block in page.blocks
    )
]


@pytest.mark.parametrize("name", WITH_PYTHON)
def test_its_python_runs(name, project, own_gearmand):
    page = PAGES[name]
    prepare(page, project, own_gearmand)
    script = project / "page.py"
    script.write_text(snippets(page))

    with ExitStack() as stack:
        if on_a_server(page):
            stack.enter_context(running(MANAGE + "gearman_worker -w 2", project))
            wait_until(lambda: has_workers(own_gearmand), "a worker")
        done = run(
            [sys.executable, "-W", "error", script.name],
            project,
            "mysite.settings" if on_a_server(page) else "mysite.eager",
        )

    assert done.returncode == 0, done.stdout


def settings_of(page: Page) -> set[str]:
    """Return the page's files with settings: all of the project's package, but its addresses."""
    files = {block.file for block in page.blocks if block.file.startswith("mysite/")}
    return files - {"mysite/urls.py"}


WITH_SETTINGS = [name for name, page in PAGES.items() if settings_of(page)]


@pytest.mark.parametrize("name", WITH_SETTINGS)
def test_its_settings_are_valid(name, project):
    page = PAGES[name]
    prepare(page, project, None)

    for file in settings_of(page):
        module = file.removesuffix(".py").replace("/", ".")
        done = run([*MANAGE.split(), "check", "--fail-level=WARNING"], project, module)
        assert done.stdout == "System check identified no issues (0 silenced).\n"


WITH_TESTS = [
    name
    for name, page in PAGES.items()
    if any(Path(block.file).name.startswith("test") for block in page.blocks)
]


@pytest.mark.parametrize("name", WITH_TESTS)
def test_its_tests_pass(name, project):
    page = PAGES[name]
    prepare(page, project, None)
    if not (project / "pytest.ini").exists():
        (project / "pytest.ini").write_text("[pytest]\npython_files = tests.py test_*.py\n")
    plugins = ["-p", "no:randomly", "-p", "no:hypothesispytest", "-p", "no:cacheprovider"]

    done = run(
        [sys.executable, "-m", "pytest", *plugins, "-W", "error", "--gearman-required"], project
    )

    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
    if name != CONTRACT:
        assert "skipped" not in done.stdout


# Commands

WITH_COMMANDS = [name for name, page in PAGES.items() if commands_of(page)]


@pytest.mark.parametrize("name", WITH_COMMANDS)
def test_its_commands_run(name, project, own_gearmand):
    page = PAGES[name]
    prepare(page, project, own_gearmand)
    commands = commands_of(page)

    with ExitStack() as stack:
        if any(not command.startswith("make ") for command, _ in commands):
            run([*MANAGE.split(), "migrate", "--run-syncdb"], project)
            stack.enter_context(running(MANAGE + "gearman_worker", project))
            wait_until(lambda: has_workers(own_gearmand), "a worker")
        for command, expected in commands:
            output = output_of(command, project, own_gearmand)
            if expected:
                assert matches(expected, output), f"{command}\n{output}"


def output_of(command: str, project: Path, server: Gearmand) -> str:
    """Run a command of a page, and return its output; that of a worker is not compared."""
    if command.startswith("make "):
        if not shutil.which("make"):
            pytest.skip("make is not installed")
        done = subprocess.run(
            [*command.split(), "--dry-run"],
            cwd=Path(__file__).parent.parent.parent,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return ""
    if command.startswith("gearmand "):
        return ""  # test_gearmand_takes_the_options_of_a_page
    words = command.split()
    stays = command.startswith(MANAGE) and words[2] in STAYS and not set(ENDS) & set(words)
    if stays:
        return stay(command, project, server)
    here = command.replace("gearman -", f"gearman -h 127.0.0.1 -p {server.port} -")
    here = here.replace("gearadmin -", f"gearadmin --host=127.0.0.1 --port={server.port} -")
    done = run(here, project)
    assert done.returncode == 0, f"{command}\n{done.stdout}"
    return done.stdout.replace(socket.gethostname(), "web1").replace("+ds", "")


def stay(command: str, project: Path, server: Gearmand) -> str:
    """Run a worker, or a server, until it serves; return the output."""
    if "gearman_server" in command and "--port" not in command:
        command += " --port 0"
    brings_a_server = "--with-server" in command
    if brings_a_server:  # at the address of the page's server, which has to go
        server.kill()
    sign = "Gearman job server on" if "gearman_server" in command else "ready: "
    with running(command, project) as log:
        wait_until(lambda: sign in log.read_text(), f"{command}: {sign}")
    if brings_a_server:
        server.start()
        wait_until(lambda: has_workers(server), "the other worker again")
    return log.read_text().replace("+ds", "")


GEARMAND = [
    (name, command)
    for name, page in PAGES.items()
    for command, _ in commands_of(page)
    if command.startswith("gearmand ")
]


@pytest.mark.parametrize(("name", "command"), GEARMAND)
def test_gearmand_takes_the_options_of_a_page(name, command, tmp_path):
    words = command.replace("/var/lib/gearman", str(tmp_path)).split()

    with Gearmand(*(word for word in words[1:] if word != "--log-file=stderr")) as server:
        assert server.ask("status") == ".\n"
