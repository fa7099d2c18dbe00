"""
The README and the pages of docs/, done word by word: each of their code blocks runs.

Blocks whose first line is a comment with a path are files of a project; its tests are run by pytest.
The others of Python run in it, in their order, in one interpreter. Blocks of shell commands run, too,
those of the README with a real gearmand.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.gearmand import Gearmand, wait_until

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# (\S+\.(?:py|ini))\n")
README = ROOT / "README.md"
TESTING = ROOT / "docs" / "testing.md"

SETTINGS = """
import os
SECRET_KEY = "only for the README"
USE_TZ = True
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
"""
MANAGE = (ROOT / "manage.py").read_text().replace("gearman_example.settings", "settings")


def blocks(language: str, page: Path = README) -> list[str]:
    return [code for name, code in BLOCK.findall(page.read_text()) if name == language]


def commands(page: Path = README) -> list[str]:
    return [
        command
        for block in blocks("sh", page)
        for line in block.splitlines()
        if (command := line.partition("  #")[0].strip())
    ]


@pytest.fixture
def project(tmp_path) -> Path:
    """Write the files of the README's project."""
    return write_project(tmp_path, README, SETTINGS)


@pytest.fixture
def tested_project(tmp_path) -> Path:
    """Write the files of the project that docs/testing.md tests."""
    settings = SETTINGS + 'INSTALLED_APPS = ["django_gearman", "shop"]\n'
    return write_project(tmp_path, TESTING, settings)


def write_project(directory: Path, page: Path, settings: str) -> Path:
    files = {"settings.py": settings, "manage.py": MANAGE, "shop/__init__.py": ""}
    for _, code in BLOCK.findall(page.read_text()):
        if named := FILE.match(code):
            files[named[1]] = files.get(named[1], "") + code
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return directory


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
    """Run the tests of a project, which must pass; return what is told."""
    program = [sys.executable, "-m", "pytest", "-p", "no:randomly", "-W", "error", *arguments]
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
    kinds = {
        page.name: {name for name, _ in BLOCK.findall(page.read_text())}
        for page in (README, *(ROOT / "docs").glob("*.md"))
    }

    assert kinds == {"README.md": {"python", "sh"}, "testing.md": {"python", "sh", "ini", "text"}}


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
IN_THE_CLONE = {"make demo", "make test"}


@pytest.mark.gearmand
@pytest.mark.parametrize("command", [c for c in dict.fromkeys(commands()) if c not in IN_THE_CLONE])
def test_the_commands_of_the_readme_run(command, project, own_gearmand: Gearmand):
    settings = project / "settings.py"
    settings.write_text(settings.read_text().replace("4730", str(own_gearmand.port)))
    example = "gearman_example_client" in command
    if example:
        settings.write_text(settings.read_text() + "INSTALLED_APPS += ['gearman_example']\n")
    output = project / "worker.log"
    with output.open("w") as log:
        worker = subprocess.Popen(
            [
                sys.executable,
                *(command if command.startswith(LONG_RUNNING) else LONG_RUNNING).split()[1:],
            ],
            cwd=project,
            env=environment("settings"),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: own_gearmand.totals().get("send-mail", [0, 0, 0])[2], "a worker")
        if not command.startswith(LONG_RUNNING):
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


def test_the_tests_of_the_readme_pass(project):
    assert "3 passed" in run_pytest(project)


@pytest.mark.gearmand
@pytest.mark.parametrize("command", commands(TESTING))
def test_the_commands_of_the_testing_page_run(command, tested_project):
    program, *arguments = command.split()
    assert program == "pytest"

    told = run_pytest(tested_project, "--gearman-required", *arguments)

    assert "2 passed" in told if arguments else re.search(r"\d\d passed", told)


def test_the_tests_of_the_testing_page_need_no_gearmand(tested_project, monkeypatch):
    (tested_project / "conftest.py").write_text(
        "import django_gearman.testing.server as server\nserver._PLACES = ''\n"
    )
    monkeypatch.setenv("PATH", "")

    told = run_pytest(tested_project, "--ignore=tests/test_my_transport.py")

    assert re.search(r"\d\d passed, 1 skipped", told)


def test_the_deployment_check_of_the_testing_page_passes(tested_project):
    check = [sys.executable, "manage.py", "check", "--deploy", "--tag", "gearman"]
    run = subprocess.run(
        check,
        cwd=tested_project,
        env=environment("settings"),
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stderr


def test_the_message_on_the_testing_page_is_what_is_told(tested_project):
    [message] = blocks("text", TESTING)
    (tested_project / "test_message.py").write_text(f"""
import pytest
from shop.gearman_jobs import total, welcome


def test_message(gearman_client):
    total.do([1])
    welcome.do_background(2)
    with pytest.raises(AssertionError) as raised:
        gearman_client.assert_submitted("shop.welcome", 1, priority="LOW")
    assert str(raised.value) + "\\n" == {message!r}
""")

    run_pytest(tested_project, "test_message.py")
