"""Jobs that no worker loads: found by a check, and refused where they are submitted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from django_gearman.testing.gearmand import free_port

ROOT = Path(__file__).parent.parent.parent
JOB = (
    "from django_gearman import gearman_job\n\n\n@gearman_job\ndef {}(value=1):\n    return value\n"
)

FILES = {
    "manage.py": (ROOT / "manage.py")
    .read_text()
    .replace("gearman_example.settings", "mysite.settings"),
    "mysite/__init__.py": "",
    "mysite/settings.py": """
import os
SECRET_KEY = "only for tests"
USE_TZ = True
INSTALLED_APPS = [app for app in ["django_gearman", "shop"] if app != os.environ.get("WITHOUT")]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
GEARMAN_BACKEND = os.environ.get("BACKEND", "gearman")
GEARMAN_SERVERS = [os.environ["SERVER"]]
GEARMAN_EXTERNAL_JOBS = os.environ.get("EXTERNAL", "").split()
""",
    "mysite/jobs.py": JOB.format("stray"),
    "shop/__init__.py": "",
    "shop/gearman_jobs.py": JOB.format("good") + "\n\nfrom shop import more\n",
    "shop/more.py": JOB.format("more"),
    "shop/tasks.py": JOB.format("lost").replace("\ndef", "\nasync def"),
    "shop/quoted.py": '"""Use it so:\n\n@gearman_job\ndef f(): ...\n"""\n',
    "shop/tests.py": JOB.format("of_a_test"),
    "shop/tests_more/__init__.py": "",
    "shop/migrations/0001_x.py": JOB.format("of_a_migration"),
    "closed/__init__.py": "",
    "closed/gearman_jobs.py": JOB.format("closed"),
}


@pytest.fixture
def run(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def run_in_project(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "DJANGO_SETTINGS_MODULE": "mysite.settings",
                "SERVER": f"127.0.0.1:{free_port()}",
                **environment,
            },
            capture_output=True,
            text=True,
            check=False,
        )

    return run_in_project


def script(*lines: str, setup: bool = True) -> str:
    return "\n".join([*(["import django", "django.setup()"] if setup else []), *lines])


def test_the_check_finds_declarations_that_no_worker_loads(run, tmp_path):
    message = run("manage.py", "check")

    assert message.returncode == 1
    errors = [line for line in message.stderr.splitlines() if "E011" in line]
    assert len(errors) == 2, message.stderr
    assert f"shop.tasks.lost ({tmp_path}/shop/tasks.py:5)" in message.stderr
    assert (
        "move it to shop.gearman_jobs, or import its module there: import shop.tasks"
        in message.stderr
    )
    assert f"mysite.jobs.stray ({tmp_path}/mysite/jobs.py:5)" in message.stderr
    assert "gearman_jobs.py of an app in INSTALLED_APPS" in message.stderr


def test_the_check_is_content_once_gearman_jobs_imports_them(run, tmp_path):
    with (tmp_path / "shop/gearman_jobs.py").open("a") as file:
        file.write("from shop import tasks\nfrom mysite import jobs\n")

    message = run("manage.py", "check")

    assert message.returncode == 0, message.stderr


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("from shop.tasks import lost as job", "tasks.py:4.*import shop.tasks"),
        ("from mysite.jobs import stray as job", "jobs.py:4.*gearman_jobs.py of an app"),
        ("from closed.gearman_jobs import closed as job", "add 'closed' to INSTALLED_APPS"),
        ("from django_gearman import gearman_job\njob = gearman_job(lambda: 1)", "<lambda>"),
    ],
)
def test_a_late_job_is_refused_at_submission(run, code, says):
    for submit in ("job.do_background()", "job.do()", "GearmanClient().submit_job(job.name)"):
        lines = ["from django_gearman import GearmanClient", *code.splitlines(), submit]
        message = run("-c", script(*lines))

        assert "JobNotRegistered: job " in message.stderr
        assert "no worker loads that" in message.stderr
        import re

        assert re.search(says, message.stderr)


@pytest.mark.parametrize("backend", ["memory", "eager"])
def test_every_declared_job_is_known_if_jobs_stay_in_the_process(run, backend):
    lines = ["from shop.tasks import lost", "lost.do_background(1)"]

    message = run("-c", script(*lines), BACKEND=backend)

    assert message.returncode == 0, message.stderr


@pytest.mark.parametrize(
    ("code", "environment"),
    [
        ("from shop.more import more as job", {}),
        ("from shop.gearman_jobs import good as job", {}),
        ("from shop.tasks import lost as job", {"EXTERNAL": "shop.tasks.*"}),
        (
            "import importlib\nfrom shop import gearman_jobs\n"
            "job = importlib.reload(gearman_jobs).good",
            {},
        ),
    ],
)
def test_a_job_that_workers_load_is_sent(run, code, environment):
    message = run("-c", script(*code.splitlines(), "job.do_background()"), **environment)

    assert "ServerUnavailable" in message.stderr  # there is none: it was about to be sent


def test_a_part_of_gearman_jobs_that_is_not_imported_is_named(run, tmp_path):
    (tmp_path / "shop/gearman_jobs.py").unlink()
    (tmp_path / "shop/gearman_jobs").mkdir()
    (tmp_path / "shop/gearman_jobs/__init__.py").write_text("")
    (tmp_path / "shop/gearman_jobs/mail.py").write_text(JOB.format("send"))

    message = run("-c", script("from shop.gearman_jobs.mail import send", "send.do_background()"))
    checked = run("manage.py", "check")

    for output in (message.stderr, checked.stderr):
        assert "import shop.gearman_jobs.mail in shop/gearman_jobs/__init__.py" in output


def test_a_module_under_another_name_is_named(run):
    lines = ["import sys", "sys.path.insert(0, 'shop')", "from gearman_jobs import good"]

    message = run("-c", script(*lines, "good.do_background()"))

    assert "import it from shop.gearman_jobs, as workers do" in message.stderr


@pytest.mark.parametrize("backend", ["gearman", "memory", "eager"])
@pytest.mark.parametrize(
    "submit",
    ["good.do_background()", "good.do()", "GearmanClient().submit_job('shop.good')"],
)
def test_without_the_app_nothing_is_submitted(run, backend, submit):
    lines = [
        "from django_gearman import GearmanClient",
        "from shop.gearman_jobs import good",
        submit,
    ]

    message = run("-c", script(*lines), WITHOUT="django_gearman", BACKEND=backend)

    assert "NotSetUp: 'django_gearman' is not in INSTALLED_APPS" in message.stderr


def test_before_django_is_set_up_nothing_is_submitted(run):
    lines = ["from shop.gearman_jobs import good", "good.do_background()"]

    message = run("-c", script(*lines, setup=False))

    assert "NotSetUp: Django has not loaded the apps yet" in message.stderr
    assert "django.setup()" in message.stderr


def test_an_app_may_submit_as_soon_as_it_is_ready(run, tmp_path):
    (tmp_path / "shop/apps.py").write_text(
        "from django.apps import AppConfig\n\n\nclass Shop(AppConfig):\n    name = 'shop'\n\n"
        "    def ready(self):\n        from shop.gearman_jobs import good\n"
        "        print(good.do_background())\n"
    )

    message = run("-c", script(), BACKEND="memory")

    assert "<JobRequest shop.good background" in message.stdout, message.stderr


def test_the_name_of_a_job_whose_app_is_not_installed_says_so(run):
    lines = ["from django_gearman import GearmanClient", "GearmanClient().submit_job('closed.all')"]

    message = run("-c", script(*lines))

    assert "no app in INSTALLED_APPS is named 'closed'" in message.stderr


def test_the_name_of_a_job_in_another_module_of_an_app_says_where_it_belongs(run):
    lines = [
        "from django_gearman import GearmanClient",
        "GearmanClient().submit_job('shop.tasks.f')",
    ]

    message = run("-c", script(*lines))

    assert "workers load shop.gearman_jobs, and what it imports: not shop.tasks" in message.stderr


def test_jobs_of_a_program_of_the_project_are_in_their_place(run, tmp_path):
    (tmp_path / "shop/more.py").write_text(
        JOB.format("one")
        .replace("gearman_job\n", 'gearman_job("queue", "own-one")\n', 2)
        .replace('import gearman_job("queue", "own-one")', "import gearman_job")
    )
    (tmp_path / "shop/gearman_jobs.py").write_text(JOB.format("good"))

    assert "own-one (" in run("manage.py", "check").stderr
    message = run("manage.py", "check", EXTERNAL="shop.tasks.* own-* mysite.jobs.stray")

    assert message.returncode == 0, message.stderr


def test_a_check_survives_what_it_cannot_read(run, tmp_path):
    (tmp_path / "shop/broken.py").write_text("@gearman_job\ndef f(:\n")
    (tmp_path / "shop/warned.py").write_text("@gearman_job\ndef f():\n    return '\\d'\n")
    (tmp_path / "shop/dangling.py").symlink_to(tmp_path / "nowhere.py")
    (tmp_path / "shop/loop").symlink_to(tmp_path / "shop")

    message = run("-W", "error", "manage.py", "check")

    assert "shop.warned.f" in message.stderr
    assert "Traceback" not in message.stderr
