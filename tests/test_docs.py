"""
The README and docs/, done word by word: each of their code blocks runs.

Blocks whose first line is a comment with a path are files of a project; its tests are run by pytest.
The others of Python run in it, in their order, in one interpreter. Blocks of shell commands run with a
real gearmand.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.gearmand import Gearmand, wait_until

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# (\S+\.(?:py|ini))\n")
README = (ROOT / "README.md").read_text()
FOLDER = ROOT / "docs"
PAGES = [path for path in sorted(FOLDER.rglob("*.md")) if "_build" not in path.parts]
DOCS = {str(path.relative_to(FOLDER)): path.read_text() for path in PAGES}

SETTINGS = """
import os
SECRET_KEY = "only for the README"
USE_TZ = True
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
"""
MANAGE = (ROOT / "manage.py").read_text().replace("gearman_example.settings", "settings")


def all_blocks(text: str) -> list[tuple[str, str]]:
    """Return (language, code) of each block, without the directives of Sphinx."""
    return [found for found in BLOCK.findall(text) if not found[0].startswith("{")]


def blocks(language: str, text: str = README) -> list[str]:
    return [code for name, code in all_blocks(text) if name == language]


def commands() -> list[str]:
    return [
        command
        for text in (README, *DOCS.values())
        for block in blocks("sh", text)
        for line in block.splitlines()
        if (command := line.partition("  #")[0].strip())
    ]


@pytest.fixture
def project(tmp_path) -> Path:
    """Write the files of the project that README and docs/ are about."""
    files = {"settings.py": SETTINGS, "manage.py": MANAGE, "shop/__init__.py": ""}
    for _, code in all_blocks("".join((README, *DOCS.values()))):
        if named := FILE.match(code):
            files[named[1]] = files.get(named[1], "") + code
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


def environment(settings: str) -> dict[str, str]:
    # Outside the clone, the package is found where it was installed, or where these tests found it.
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": settings,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }


def run_pytest(project: Path, *arguments: str) -> str:
    """Run the tests of a project, which must pass; return the output."""
    plugins = ["-p", "no:randomly", "-p", "no:hypothesispytest"]
    program = [sys.executable, "-m", "pytest", *plugins, "-W", "error", *arguments]
    run = subprocess.run(
        program,
        cwd=project,
        env=environment("settings"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def test_every_block_is_of_a_kind_that_is_run():
    assert {name for name, _ in all_blocks(README)} == {"python", "sh"}
    for text in DOCS.values():
        assert {name for name, _ in all_blocks(text)} <= {"python", "sh", "ini", "text"}
        assert all(FILE.match(code) for code in blocks("python", text)), "they are files"


def test_links_lead_somewhere():
    for name, text in DOCS.items():
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (FOLDER / name).parent.joinpath(target).exists(), f"{name}: {target}"


def test_the_python_of_the_readme_runs(project):
    snippets = [code for code in blocks("python") if not FILE.match(code)]
    script = project / "readme.py"
    script.write_text("import django; django.setup()\n" + "\n".join(snippets))

    run = subprocess.run(
        [sys.executable, "-W", "error", script.name],
        cwd=project,
        env=environment("settings_for_development"),
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stderr
    assert len(snippets) >= 8


LONG_RUNNING = "python manage.py gearman_worker"
# Commands that are for the clone of the repository, where CI runs them.
IN_THE_CLONE = {"make demo", "make test", "make soak", "make bench"}
SERVER = "gearmand "
OWN_SERVER = "python manage.py gearman_server"


def here(command: str) -> bool:
    return command not in IN_THE_CLONE and not command.startswith((SERVER, OWN_SERVER))


def has_a_worker(server: Gearmand) -> bool:
    with suppress(OSError):  # it is not there yet
        return bool(server.totals().get("send-mail", [0, 0, 0])[2])
    return False


@pytest.mark.gearmand
@pytest.mark.parametrize("command", list(filter(here, dict.fromkeys(commands()))))
def test_the_commands_of_the_readme_run(command, project, own_gearmand: Gearmand):
    settings = project / "settings.py"
    settings.write_text(settings.read_text().replace("4730", str(own_gearmand.port)))
    example = "gearman_example_client" in command
    stays = command.startswith(LONG_RUNNING) and "--check" not in command
    if "--with-server" in command:
        own_gearmand.kill()  # the command's own server takes its place
    if example:
        settings.write_text(settings.read_text() + "INSTALLED_APPS += ['gearman_example']\n")
    output = project / "worker.log"
    with output.open("w") as log:
        worker = subprocess.Popen(
            [
                sys.executable,
                *(command if stays else LONG_RUNNING).split()[1:],
            ],
            cwd=project,
            env=environment("settings"),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: has_a_worker(own_gearmand), "a worker")
        if not stays:
            run = subprocess.run(
                command.replace("gearman -f", f"gearman -h 127.0.0.1 -p {own_gearmand.port} -f"),
                shell=True,
                cwd=project,
                env=environment("settings"),
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            assert run.returncode == 0, run.stderr
            assert run.stdout
        assert worker.poll() is None, output.read_text()
    finally:
        worker.terminate()
        assert worker.wait(30) == 0, output.read_text()


@pytest.mark.parametrize("command", sorted(IN_THE_CLONE))
def test_the_targets_of_the_readme_exist(command):
    if not shutil.which("make"):
        pytest.skip("make is not installed")

    run = subprocess.run(
        [*command.split(), "--dry-run"], cwd=ROOT, capture_output=True, check=False
    )

    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("command", [c for c in commands() if c.startswith(OWN_SERVER)])
def test_the_included_server_takes_these_options(command, project):
    server = subprocess.Popen(
        [sys.executable, *command.split()[1:], "--port=0"],
        cwd=project,
        env=environment("settings"),
        stdout=subprocess.PIPE,
        text=True,
    )
    with server:
        assert server.stdout is not None
        assert server.stdout.readline().startswith("Gearman job server on 127.0.0.1:")
        server.terminate()
        assert "No job is lost." in server.stdout.read()
    assert server.returncode == 0


@pytest.mark.gearmand
@pytest.mark.parametrize("command", [c for c in commands() if c.startswith(SERVER)])
def test_gearmand_takes_these_options(command, tmp_path):
    words = command.replace("/var/lib/gearman", str(tmp_path)).split()

    with Gearmand(*(word for word in words[1:] if word != "--log-file=stderr")) as server:
        assert server.ask("status") == ".\n"


WITH_MIDDLEWARE = """
import logging, django
django.setup()
from django_gearman import gearman_job
from shop.middleware import tenant
logging.basicConfig(level=logging.INFO)
@gearman_job(name="whose")
def whose():
    return tenant.get()
tenant.set("acme")
print(whose.do())
"""


def test_its_middleware_carries_the_tenant_and_logs_the_time(project):
    (project / "both.py").write_text(
        "from settings_for_development import *\nfrom middleware_settings import *\n"
    )

    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITH_MIDDLEWARE],
        cwd=project,
        env=environment("both"),
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.stdout == "acme\n", run.stderr
    assert re.search(r"INFO:shop:whose succeeded in 0\.\d{3} s", run.stderr)


def test_logs_name_their_job(project):
    script = project / "log.py"
    script.write_text("import django; django.setup()\nimport logging; logging.error('said')\n")

    run = subprocess.run(
        [sys.executable, script.name],
        cwd=project,
        env=environment("settings_for_production"),
        capture_output=True,
        text=True,
        check=True,
    )

    assert run.stderr == "ERROR [ ] said\n"


def test_the_numbers_are_those_of_a_whole_soak_that_passed():
    [reported] = blocks("text", DOCS["explanation/reliability.md"])
    scenarios = [path.stem for path in (ROOT / "soak" / "scenarios").glob("[!_]*.py")]

    assert sorted(re.findall(r"^(\w+): ", reported, re.MULTILINE)) == sorted(scenarios)
    assert reported.count("  PASS in ") == len(scenarios)
    assert "FAIL" not in reported


CONTRACT = "--ignore=tests/test_my_transport.py"  # which tests/backends runs on each transport


@pytest.mark.gearmand
def test_the_tests_of_the_readme_pass(project):
    reported = run_pytest(project, "--gearman-required")

    assert re.search(r"\d\d passed", reported)
    assert "skipped" not in reported


@pytest.mark.gearmand
@pytest.mark.parametrize("transport", ["memory", "real"])
def test_its_tests_for_any_transport_pass_on_each(project, transport):
    options = [f"--gearman={transport}", "tests/test_anywhere.py"]

    assert "2 passed" in run_pytest(project, "--gearman-required", *options)


def test_its_tests_need_no_gearmand(project, monkeypatch):
    (project / "conftest.py").write_text(
        "import django_gearman.testing.programs as programs\nprograms._PLACES = ''\n"
    )
    monkeypatch.setenv("PATH", "")

    reported = run_pytest(project, CONTRACT)

    assert re.search(r"\d\d passed", reported)
    assert "skipped" not in reported


def test_its_test_cases_need_no_pytest(project):
    reported = manage(project, "test")

    assert "Ran 3 tests" in reported


def test_its_deployment_check_passes(project):
    manage(project, "check", "--deploy", "--tag", "gearman")


def manage(project: Path, *arguments: str) -> str:
    run = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=project,
        env=environment("settings"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout + run.stderr


def test_its_message_is_what_is_reported(project):
    [message] = blocks("text", DOCS["how-to/test/pytest.md"])
    (project / "test_message.py").write_text(f"""
import pytest
from shop.gearman_jobs import resize, send


def test_message(gearman_client):
    resize.do("cat.png", 200)
    send.using(priority="HIGH").do_background("ada@example.com")
    with pytest.raises(AssertionError) as raised:
        gearman_client.assert_submitted(send, "eve@example.com", priority="HIGH")
    assert str(raised.value) + "\\n" == {message!r}
""")

    run_pytest(project, "test_message.py")
