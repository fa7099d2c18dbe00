from __future__ import annotations

import pytest

from django_gearman import GearmanClient


@pytest.fixture
def client() -> GearmanClient:
    return GearmanClient()
