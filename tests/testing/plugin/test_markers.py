"""The marker, the options, and strict tests."""

from __future__ import annotations

import pytest

from tests.support.project import SETTINGS, run

BODY = """
def test_body(gearman_client, gearman_worker):
    request = gearman_client.submit_job("shop.add", 1, wait_until_complete=False)
    send.do_background("ada")
    gearman_worker.run()
    assert request.wait(10).result == 11
    assert gearman_client.assert_submitted(send, "ada").result == "sent"
    assert RAN == ["ada"]
    from django_gearman.backends import get_backend
    print("ran on", type(get_backend()).__name__)
"""


@pytest.mark.parametrize(
    ("transport", "backend"),
    [
        ("eager", "EagerBackend"),
        ("memory", "MemoryBackend"),
        pytest.param("real", "GearmandBackend", marks=pytest.mark.gearmand),
    ],
)
@pytest.mark.parametrize("how", ["option", "marker"])
def test_one_body_runs_on_each_transport(project, transport, backend, how):
    marker = f"@pytest.mark.gearman({transport!r})" if how == "marker" else ""
    options = [f"--gearman={transport}"] if how == "option" else []

    result = run(project, marker + BODY, "-s", *options)

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"*ran on {backend}*"])


@pytest.mark.gearmand
def test_python_gearman_projects_meet_their_own_transport(project):
    pytest.importorskip("gearman", reason="the bindings are not installed")
    project.makepyfile(settings=SETTINGS + "GEARMAN_BACKEND = 'python-gearman'")

    result = run(project, BODY, "-s", "--gearman=real")

    result.stdout.fnmatch_lines(["*ran on PythonGearmanBackend*"])


def test_a_marker_goes_before_the_option(project):
    result = run(
        project,
        """
@pytest.mark.gearman("memory")
class TestThem:
    def test_queued(self):
        send.do_background("ada")
        assert RAN == []

    @pytest.mark.gearman(raise_failures=False)
    def test_markers_add_up(self, gearman_worker):
        fail.do_background("boom")
        assert gearman_worker.run() == 1

def test_at_once():
    send.do_background("bob")
    assert RAN == ["bob"]
""",
        "--gearman=eager",
    )

    result.assert_outcomes(passed=3)


def test_a_marker_that_means_nothing_is_an_error(project):
    markers = ["'memroy'", "transport='x'", "'memory', 'eager'", "stric=True"]
    tests = [
        f"@pytest.mark.gearman({marker})\ndef test_{number}():\n    pass\n"
        for number, marker in enumerate(markers)
    ]

    result = run(project, "\n".join(tests))

    result.assert_outcomes(errors=4)
    result.stdout.fnmatch_lines(["*'eager' | 'memory' | 'real'*"] * 4)


STRICT = """
@pytest.mark.gearman("memory")
def test_left(gearman_client):
    send.do_background("ada")

@pytest.mark.gearman("memory", raise_failures=False)
def test_failed(gearman_worker):
    fail.do_background("boom")
    gearman_worker.run()

@pytest.mark.gearman("memory", raise_failures=False)
def test_fine(gearman_client, gearman_worker):
    import datetime
    for _ in range(2):
        fail.using(unique="one").do_background("boom")
    request = gearman_client.submit_job("shop.fail", "boom", wait_until_complete=False)
    send.using(run_after=datetime.timedelta(hours=1)).do_background("ada")
    gearman_worker.run()
    assert request.wait().exception
    assert gearman_client.submitted[0].exception

def test_raised(gearman_client):
    with pytest.raises(ValueError):
        fail.do_background("boom")
"""


def test_strict_tests_leave_nothing_behind(project):
    result = run(project, STRICT)
    result.assert_outcomes(passed=4)

    project.makeini(
        "[pytest]\npythonpath = .\nDJANGO_SETTINGS_MODULE = settings\ngearman_strict = true\n"
    )
    result = run(project, STRICT)
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines(
        [
            "*shop.send('ada')*was left queued*",
            "*shop.fail('boom')*failed, and the test did not look*",
        ]
    )


def test_a_strict_marker_is_for_its_test(project):
    result = run(
        project,
        """
@pytest.mark.gearman("memory", strict=True)
def test_strict():
    send.do_background("ada")

@pytest.mark.gearman("memory", strict=True)
def test_its_own_failure_is_reported():
    send.do_background("ada")
    assert RAN == ["no"]

@pytest.mark.gearman("memory")
def test_lenient():
    send.do_background("ada")
""",
    )

    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(["*was left queued*", "*assert*RAN*"])
