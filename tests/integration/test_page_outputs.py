"""Output that the documentation shows, and that no command of a page prints."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.gearmand import Gearmand, wait_until
from tests.support.pages import DOCS, Block, Page, environment, matches, pages, run, write_project

pytestmark = pytest.mark.integration

PAGES = {page.name: page for page in pages()}
LANGUAGES = DOCS / "how-to" / "languages"
EAGER = "from mysite.settings import *\nGEARMAN_BACKEND = {backend!r}\n"
SET_UP = "import django; django.setup()\n"
PROGRAMS = {".php": "php", ".pl": "perl", ".sh": "sh"}
PACKAGES = "php-cli php-gearman libgearman-client-perl gearman-tools"
PROBES = {
    "php": ["-r", "new GearmanClient();"],
    "perl": ["-MGearman::Client", "-MJSON::PP", "-e", "1"],
    "sh": ["-c", "command -v gearman"],
}


def checked(page: Page, test: str) -> Block:
    """Return the block that names this test."""
    [block] = [b for b in page.blocks if b.kind == "checked by" and b.note == test]
    return block


def prepare(page: Page, project: Path, backend: str = "eager") -> None:
    write_project(page, project)
    (project / "mysite" / "chosen.py").write_text(EAGER.format(backend=backend))


def use_server(project: Path, server: Gearmand) -> None:
    settings = project / "mysite" / "settings.py"
    settings.write_text(settings.read_text().replace("4730", str(server.port)))


def python(script: str, project: Path) -> str:
    """Run a script in a project, and return what it prints."""
    (project / "script.py").write_text(SET_UP + script)
    command = f"{sys.executable} -W error script.py 2>errors.txt"
    done = run(command, project, "mysite.chosen")
    assert done.returncode == 0, (project / "errors.txt").read_text()
    return done.stdout


def test_the_output_of_the_readme(tmp_path):
    page = PAGES["../README.md"]
    prepare(page, tmp_path)
    [script] = [b.code for b in page.blocks if b.language == "python" and not b.file]

    output = python(script, tmp_path)

    assert output == checked(page, "test_the_output_of_the_readme").code


MESSAGE = """
import pytest
from shop.gearman_jobs import resize, send


def test_message(gearman_client):
    resize.do("cat.png", 200)
    send.using(priority="HIGH").do_background("ada@example.com")
    with pytest.raises(AssertionError) as raised:
        gearman_client.assert_submitted(send, "eve@example.com", priority="HIGH")
    assert str(raised.value) + "\\n" == {message!r}
"""


def test_the_message_of_a_failed_assertion(tmp_path):
    page = PAGES["how-to/test/pytest.md"]
    prepare(page, tmp_path)
    message = checked(page, "test_the_message_of_a_failed_assertion").code
    (tmp_path / "test_message.py").write_text(MESSAGE.format(message=message))

    done = run([sys.executable, "-m", "pytest", "-p", "no:randomly", "test_message.py"], tmp_path)

    assert done.returncode == 0, done.stdout


def test_the_memory_backend_as_documented(tmp_path):
    page = PAGES["how-to/develop-without-a-server.md"]
    prepare(page, tmp_path, "memory")
    code = checked(page, "test_the_memory_backend_as_documented").code
    [shown] = re.findall(r"  +('.*')$", code, re.MULTILINE)
    imports = "import threading\nfrom django_gearman import GearmanWorker\n"
    imports += "from shop.gearman_jobs import reverse\n"

    output = python(imports + re.sub(r"  +'.*'$", "", code, flags=re.MULTILINE), tmp_path)

    assert repr(output.strip()) == shown


MIDDLEWARE = """
import logging
from django_gearman import gearman_job
from shop.middleware import tenant
logging.basicConfig(level=logging.INFO, filename="log.txt")
@gearman_job(name="whose")
def whose():
    return tenant.get()
tenant.set("acme")
print(whose.do())
"""


def test_the_middleware_carries_the_tenant_and_logs_the_time(tmp_path):
    prepare(PAGES["reference/middleware.md"], tmp_path)

    assert python(MIDDLEWARE, tmp_path) == "acme\n"
    log = (tmp_path / "log.txt").read_text()
    assert re.search(r"INFO:shop:whose succeeded in 0\.\d{3} s", log), log


def test_the_log_format_names_the_job(tmp_path):
    prepare(PAGES["how-to/logging.md"], tmp_path)

    python("import logging; logging.error('said')\n", tmp_path)

    assert (tmp_path / "errors.txt").read_text() == "ERROR [ ] said\n"


def test_the_type_errors_of_the_page_on_typing(tmp_path):
    page = PAGES["how-to/typing.md"]
    prepare(page, tmp_path)
    shown = checked(page, "test_the_type_errors_of_the_page_on_typing").code.split("\n")
    calls = [line for line in shown if ".do(" in line]
    errors = [line for line in shown if line.startswith("error: ")]
    (tmp_path / "wrong.py").write_text(
        "from shop.gearman_jobs import resize, reverse\n" + "\n".join(calls) + "\n"
    )

    done = run([sys.executable, "-m", "mypy", "--strict", "shop/typed.py", "wrong.py"], tmp_path)

    found = re.findall(r"^(\S+?):\d+: (error: .+?)  \[", done.stdout, re.MULTILINE)
    assert found == [("wrong.py", error) for error in errors], done.stdout


@pytest.mark.gearmand
def test_a_job_that_no_worker_serves_is_marked(tmp_path, own_gearmand):
    page = PAGES["how-to/my-job-never-runs.md"]
    prepare(page, tmp_path, "gearman")
    use_server(tmp_path, own_gearmand)
    shown = checked(page, "test_a_job_that_no_worker_serves_is_marked").code
    worker = [sys.executable, "manage.py", "gearman_worker", "-q", "mail:2"]

    with running(worker, tmp_path, own_gearmand, "send-mail"):
        wait_until(lambda: own_gearmand.totals()["send-mail"][2] == 2, "both processes")
        python("from shop.gearman_jobs import reverse\nreverse.do_background('abc')\n", tmp_path)
        done = run(f"{sys.executable} manage.py gearman_status 2>errors.txt", tmp_path)

    output = done.stdout.replace(socket.gethostname(), "web1").replace("+ds", "")
    assert matches(shown.partition("\n")[2], output), done.stdout
    assert done.returncode == 2


# Other languages

WORKERS = {"worker.php": "php.pdf", "worker.pl": "perl.upper", "worker.sh": "sh.bytes"}


def program(file: Path) -> list[str]:
    """Return the command that runs an example; CI must have all languages."""
    name = PROGRAMS[file.suffix]
    found = shutil.which(name)
    if not found or subprocess.run([found, *PROBES[name]], capture_output=True).returncode:
        missing = f"{name} with Gearman: apt-get install {PACKAGES}"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return [found, str(file)]


@contextmanager
def running(command: list[str], project: Path, server: Gearmand, name: str) -> Iterator[None]:
    """Run a worker until the block ends; begin when it serves a function."""
    log = (project / "worker.log").open("w")
    process = subprocess.Popen(command, cwd=project, env=environment(), stdout=log, stderr=log)
    try:
        wait_until(lambda: server.totals().get(name, (0, 0, 0))[2], f"a worker of {name}")
        yield
    finally:
        process.kill()
        process.wait()
        log.close()


@pytest.fixture
def shop(tmp_path, own_gearmand) -> Path:
    """Return the project of the page, with the test's server in its settings."""
    prepare(PAGES["how-to/other-languages.md"], tmp_path, "gearman")
    use_server(tmp_path, own_gearmand)
    return tmp_path


@pytest.mark.gearmand
@pytest.mark.parametrize("file", sorted(LANGUAGES.glob("client.*")), ids=lambda file: file.name)
def test_a_client_of_the_documentation(file, shop, own_gearmand):
    page = PAGES["how-to/other-languages.md"]
    shown = checked(page, "test_a_client_of_the_documentation").code
    command = [*program(file), str(own_gearmand.port)]
    worker = [sys.executable, "manage.py", "gearman_worker"]

    with running(worker, shop, own_gearmand, "send-mail"):
        done = run(command, shop)
        wait_until(lambda: own_gearmand.totals()["send-mail"][0] == 0, "the background job")

    assert done.returncode == 0, done.stdout
    plain = done.stdout.replace('"', "").splitlines()
    expected = shown.replace('"', "").splitlines()
    assert plain[:2] == expected[:2]
    assert plain[2].startswith(expected[2])


@pytest.mark.gearmand
def test_a_client_of_workers_in_other_languages(shop, own_gearmand):
    page = PAGES["how-to/other-languages.md"]
    lines = checked(page, "test_a_client_of_workers_in_other_languages").code.splitlines()
    calls = [re.split(r"  +", line) for line in lines]
    script = "from django_gearman import GearmanClient\n"
    for call, *shown in calls:
        if shown and not shown[0].startswith("JobFailed"):
            call = f"print(repr({call}))"
        elif shown:
            call = f"try: {call}\nexcept Exception as error:"
            call += " print(type(error).__name__, error, sep=': ')"
        script += call.replace("GearmanClient()", "GearmanClient().using(wait=30)") + "\n"

    with (
        running(
            [*program(LANGUAGES / "worker.php"), str(own_gearmand.port)],
            shop,
            own_gearmand,
            "php.pdf",
        ),
        running(
            [*program(LANGUAGES / "worker.pl"), str(own_gearmand.port)],
            shop,
            own_gearmand,
            "perl.upper",
        ),
        running(
            [*program(LANGUAGES / "worker.sh"), str(own_gearmand.port)],
            shop,
            own_gearmand,
            "sh.bytes",
        ),
    ):
        output = python(script, shop)

    assert matches("\n".join(shown[0] for _, *shown in calls if shown), output), output
