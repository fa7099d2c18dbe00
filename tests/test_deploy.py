"""The files in docs/how-to/deploy, as far as they can be tested without a deployment."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
from django.core.management import load_command_class

from tests.support.gearmand import Gearmand

DEPLOY = Path(__file__).parent.parent / "docs" / "how-to" / "deploy"
UNIT = (DEPLOY / "django-gearman.service").read_text()
STAGES = re.findall(r'^CMD (\[".+"\])$', (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)


def worker_options(words: list[str]) -> Namespace:
    """Parse a command line like gearman_worker; exit for an invalid one."""
    parser = load_command_class("django_gearman", "gearman_worker").create_parser(
        "", "gearman_worker"
    )
    return parser.parse_args(words[words.index("gearman_worker") + 1 :])


def of_unit(name: str) -> str:
    return re.findall(rf"^{name}=(.+)$", UNIT, re.MULTILINE)[-1]


def yaml_of(name: str) -> Any:
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load((DEPLOY / name).read_text())


def test_the_unit_is_understood_by_systemd(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd is not installed")
    command = of_unit("ExecStart")
    unit = tmp_path / "django-gearman.service"
    unit.write_text(UNIT.replace(command.split()[0], sys.executable))

    run = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False
    )

    assert (run.returncode, run.stderr) == (0, "")


def test_the_unit_waits_for_longer_than_its_worker():
    options = worker_options(shlex.split(of_unit("ExecStart")))

    assert options.queues == ["mail:4", "default:2"]
    assert int(of_unit("TimeoutStopSec")) > options.grace_period


def test_the_image_runs_a_worker_without_a_shell():
    options = worker_options(json.loads(STAGES[1]))

    assert str(options.health_file) in (DEPLOY / "Dockerfile").read_text().split("HEALTHCHECK")[1]


@pytest.mark.gearmand
def test_the_image_runs_a_gearmand(tmp_path):
    words = json.loads(STAGES[0].replace("/var/lib/gearman", str(tmp_path)))

    with Gearmand(*(word for word in words[1:] if word != "--log-file=stderr")) as server:
        assert server.ask("status") == ".\n"


def test_compose_waits_for_longer_than_its_worker():
    services = yaml_of("compose.yaml")["services"]

    stages = re.findall(r"^FROM \S+ AS (\w+)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert [service["build"]["target"] for service in services.values()] == stages
    grace = worker_options(json.loads(STAGES[1])).grace_period
    assert int(services["worker"]["stop_grace_period"].removesuffix("s")) > grace


def test_kubernetes_waits_for_longer_than_its_worker():
    template = yaml_of("kubernetes.yaml")["spec"]["template"]["spec"]
    [container] = template["containers"]

    options = worker_options([*container["command"], *container["args"]])
    assert template["terminationGracePeriodSeconds"] > options.grace_period
    assert str(options.health_file) in container["readinessProbe"]["exec"]["command"][-1]


def test_all_name_the_settings_of_a_project():
    [container] = yaml_of("kubernetes.yaml")["spec"]["template"]["spec"]["containers"]
    environment = {each["name"]: each["value"] for each in container["env"]}
    named = {
        environment["DJANGO_SETTINGS_MODULE"],
        yaml_of("compose.yaml")["services"]["worker"]["environment"]["DJANGO_SETTINGS_MODULE"],
        *re.findall(r"DJANGO_SETTINGS_MODULE=(\S+)", UNIT),
    }

    assert named == {"mysite.settings"}


def test_health_is_the_age_of_a_file(tmp_path):
    container = yaml_of("kubernetes.yaml")["spec"]["template"]["spec"]["containers"][0]
    file = tmp_path / "gearman-health"

    def is_ready() -> bool:
        command = container["readinessProbe"]["exec"]["command"]
        here = [word.replace("/tmp/gearman-health", str(file)) for word in command]
        return subprocess.run(here, capture_output=True, check=False).returncode == 0

    assert not is_ready()
    file.touch()
    assert is_ready()
    subprocess.run(["touch", "-d", "2 minutes ago", file], check=True)
    assert not is_ready()
