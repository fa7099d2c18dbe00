"""Test cases and settings under pytest, and the plugin's own help."""

from __future__ import annotations

from tests.support.project import run


def test_test_cases_and_fixtures_get_along(project):
    result = run(
        project,
        """
from django.test import SimpleTestCase, override_settings
from django_gearman.testing import GearmanTestMixin

@override_settings(GEARMAN_BACKEND="memory")
class PlainCase(SimpleTestCase):
    def test_one(self):
        send.do_background("ada")
        assert RAN == []
    test_two = test_one

class MixinCase(GearmanTestMixin, SimpleTestCase):
    def test_mixin(self):
        add.do_background(1)
        self.assert_submitted(add, 1)

@pytest.mark.gearman("memory", strict=True)
class MarkedCase(SimpleTestCase):
    def test_marked(self):
        send.do_background("ada")

@pytest.mark.usefixtures("gearman_client")
@override_settings(GEARMAN_BACKEND="memory")
class FixtureCase(SimpleTestCase):
    def test_one(self):
        assert add.do(1) == 11
    test_two = test_one
""",
    )

    result.assert_outcomes(passed=5, failed=1)


def test_settings_of_a_test_end_with_it(project):
    result = run(
        project,
        """
def test_changes(settings, gearman_client):
    settings.GEARMAN_SERIALIZER = "pickle"
    assert add.do(1) == 11

def test_changes_dynamically(request, settings):
    settings.GEARMAN_SERIALIZER = "pickle"
    request.getfixturevalue("gearman_client")
    settings.GEARMAN_BACKEND = "memory"
    assert add.do(1) == 11

def test_unchanged(settings):
    assert not hasattr(settings, "GEARMAN_SERIALIZER")
    assert settings.GEARMAN_BACKEND == "eager"
""",
    )

    result.assert_outcomes(passed=3)


def test_the_help_tells_of_options_and_marker(project):
    message = project.runpytest_subprocess("--help").stdout.str()
    assert all(name in message for name in ("--gearman=", "--gearman-required", "gearman_strict"))

    message = project.runpytest_subprocess("--markers").stdout.str()
    assert "@pytest.mark.gearman(transport=None, strict=False, raise_failures=True)" in message
