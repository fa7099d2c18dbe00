"""Processes that a job forks where it runs in its caller, and what forking leaves as it was."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

from django_gearman.worker.isolation import call

pytestmark = pytest.mark.gearman("eager")


def fork(code: int | None) -> list[int]:
    child = os.fork()
    if not child:
        if code is None:
            return []
        sys.exit(code)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])]


async def fork_in_a_loop(code: int | None) -> list[int]:
    return fork(code)


@pytest.mark.parametrize("func", [fork, fork_in_a_loop])
@pytest.mark.parametrize(("code", "expected"), [(None, 0), (0, 0), (5, 5)])
def test_a_child_that_comes_back_ends_without_a_worker_process(func, code, expected):
    result = call(func, [code], {}, seconds=None, is_async=func is fork_in_a_loop)
    assert result == [expected]


def test_nothing_is_installed_where_no_worker_process_is():
    code = """
        import os, signal, sys
        import django
        from django.conf import settings
        settings.configure(INSTALLED_APPS=["django_gearman"], GEARMAN_BACKEND="eager")
        django.setup()
        from django_gearman import gearman_job
        os.register_at_fork = lambda **hooks: sys.exit(f"installed: {hooks}")
        before = [signal.getsignal(number) for number in signal.valid_signals()]
        @gearman_job(name="app.double")
        def double(number):
            return 2 * number
        assert double.do(2) == 4
        assert before == [signal.getsignal(number) for number in signal.valid_signals()]
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
