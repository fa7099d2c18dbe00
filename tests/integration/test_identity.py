"""A job is one and the same, whatever becomes of its workers."""

from __future__ import annotations

import pytest

from tests.integration.conftest import workers_ready
from tests.support.gearmand import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.gearmand]

BOTH = pytest.mark.parametrize("backend", ["gearman", "python-gearman"])
EACH_UNIQUE = pytest.mark.parametrize("unique", [None, "ada"])
IDENTIFY = "tests.integration.identify"


@BOTH
@EACH_UNIQUE
@pytest.mark.parametrize("how", ["kill", "exit", "raise"])
def test_an_id_survives_retries_and_deaths(launch, client, trail, backend, unique, how):
    launch("gearman_worker", backend=backend)

    request = client.submit_job(
        IDENTIFY, args=[how, "raise"], unique=unique, priority="HIGH", background=True
    )

    wait_until(lambda: len(trail()) == 3, "three attempts")
    messages = [line.split("/") for line in trail()]
    assert [attempt for attempt, *_ in messages] == ["1", "2", "3"]
    [(job_id, its_unique, enqueued_at)] = {tuple(rest) for _, *rest in messages}
    assert (job_id, its_unique) == (request.id, unique or request.id)
    assert float(enqueued_at) > 0


@BOTH
@EACH_UNIQUE
def test_an_attempt_that_was_not_recorded_is_not_doubled(launch, client, trail, backend, unique):
    launch("gearman_worker", backend=backend)
    args = ["die before it is noted"]
    client.submit_job(IDENTIFY, args=args, unique=unique, background=True)
    wait_until(lambda: len(trail()) == 2, "its second attempt")

    assert client.submit_job("tests.integration.mark", "behind it", poll_timeout=30).result

    attempts = [line.partition("/")[0] for line in trail()]
    assert attempts == ["1", "2", "behind", "it"]


@EACH_UNIQUE
def test_an_id_survives_the_whole_worker(launch, client, own_gearmand, trail, unique):
    worker = launch("gearman_worker")
    workers_ready(own_gearmand, 1)
    request = client.submit_job(IDENTIFY, args=["sleep"], unique=unique, background=True)
    wait_until(lambda: len(trail()) == 1, "it runs")

    worker.close()
    launch("gearman_worker")

    wait_until(lambda: len(trail()) == 2, "another worker runs it")
    [line] = set(trail())
    assert line.split("/")[:2] == ["1", request.id]
