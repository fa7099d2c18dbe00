"""The python-gearman bindings: which distribution they come from."""

from __future__ import annotations

import pytest

from django_gearman.exceptions import InvalidBackend

python_gearman = pytest.importorskip("django_gearman.backends.python_gearman.backend")


def test_those_that_the_extra_installs_are_the_right_ones():
    python_gearman.check_bindings()


@pytest.mark.parametrize("name", ["gearman3", "gearman", "python3_gearman"])
def test_other_bindings_beside_them_are_an_error_with_a_remedy(monkeypatch, tmp_path, name):
    information = tmp_path / f"{name}-0.2.1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.2.1\n")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(InvalidBackend, match=rf"pip uninstall {name} pygearman, then"):
        python_gearman.check_bindings()
