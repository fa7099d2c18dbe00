from __future__ import annotations

import pytest

from tests.support.project import JOBS, ROOT, SETTINGS


@pytest.fixture(autouse=True)
def quick_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions without Hypothesis, whose import would take half of their time."""
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:hypothesispytest")


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project with jobs, and tests that pytest-django sets up."""
    pytester.makepyfile(**{"settings": SETTINGS, "shop/__init__": "", "shop/gearman_jobs": JOBS})
    pytester.makeini(
        "[pytest]\npythonpath = .\nDJANGO_SETTINGS_MODULE = settings\nfilterwarnings = error\n"
    )
    # Outside the clone, the package is found where it was installed, or where these tests found it.
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)
    return pytester
