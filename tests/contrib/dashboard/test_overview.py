"""The page of job servers and queues."""

from __future__ import annotations

import datetime
import re
import zoneinfo
from functools import partial

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.utils import dateformat, timezone

from django_gearman.contrib.dashboard.models import JobServer, QueueSample
from django_gearman.contrib.dashboard.pages import overview
from django_gearman.contrib.dashboard.pages.overview import collect
from django_gearman.contrib.dashboard.sampling import Sampler
from django_gearman.contrib.store.control import Answers, StoreErrors, SupervisorInfo
from django_gearman.contrib.store.models import JobRecord, OutboxJob, PausedQueue
from django_gearman.management.asking import ask_servers
from django_gearman.testing.gearmand import free_port
from tests.contrib.dashboard.servers import answering
from tests.contrib.store.control.supervisors import supervisor

ADDRESS = "/admin/gearman_dashboard/overview/"
PAUSE, RESUME = f"{ADDRESS}pause/", f"{ADDRESS}resume/"
ZONE = zoneinfo.ZoneInfo("America/New_York")
EVIL = '<script>alert("1")</script>'
VERSION = {b"version": b"OK 1.1.20\n"}

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def patience(monkeypatch) -> None:
    """Let the servers of a busy machine answer later than those of a page."""
    monkeypatch.setattr(overview, "ask_servers", partial(ask_servers, 20.0))
    monkeypatch.setattr(overview, "PATIENCE", 20.0)


def page_of(browser: Client) -> str:
    response = browser.get(ADDRESS)
    assert response.status_code == 200
    return response.content.decode()


def row_of(page: str, queue: str) -> str:
    """Return the text in a queue's row, without drawings."""
    [row] = [part for part in page.split("<tr") if f'<th scope="row">{queue}</th>' in part]
    row = re.sub(r"<svg.*?</svg>", "", row.partition("</tr>")[0].partition(">")[2], flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", row).split())


def record(queue: str, status: str, minutes: float, **columns: object) -> None:
    at = timezone.now() - datetime.timedelta(minutes=minutes)
    moment = "enqueued_at" if status == "READY" else "finished_at"
    number = JobRecord.objects.count()
    JobRecord.objects.create(
        id=f"{number}", name="job", queue=queue, status=status, **{moment: at, **columns}
    )


def test_a_queue_shows_its_jobs_by_priority_its_processes_and_its_waits(viewer, use):
    answers = {
        b"status": b"tests.contrib.double\t14\t3\t4\ntests.contrib.double@delayed\t7\t0\t0\n.\n",
        b"prioritystatus": b"tests.contrib.double\t5\t4\t2\t4\n.\n",
    }
    record("default", "READY", 3)
    record("default", "READY", 1)
    record("default", "READY", 9, run_after=timezone.now() + datetime.timedelta(hours=1))
    record("default", "FAILED", 60)
    record("default", "FAILED", 60 * 25)
    with answering(VERSION | answers) as server:
        use(server.address)

        page = page_of(viewer)

    assert f"<strong>{server.address}</strong>" in page
    assert "gearmand 1.1.20" in page
    assert "18 queued, 3 running" in page
    assert row_of(page, "default") == "default 3 of 4 5 4 2 7 3 min 1"
    assert row_of(page, "trail") == "trail no worker serves this queue 0 0 0 0 – 0"


def test_a_server_that_is_down_is_named_with_the_time_of_its_last_answer(viewer, use):
    down = f"127.0.0.1:{free_port()}"
    JobServer.objects.create(
        address=down, answered_at=datetime.datetime(2026, 3, 1, 12, 3, tzinfo=datetime.UTC)
    )
    use(down)

    page = page_of(viewer)

    assert f"down since 1 March, 12:03: job server {down}: [Errno 111] Connection refused" in page
    assert row_of(page, "default") == "default unknown unknown – 0"
    assert "no worker serves" not in page, "nothing is known about workers"


def test_names_are_escaped_and_others_are_folded(viewer, use):
    evil = EVIL.encode() + b"\x1b\xe2\x80\xae"
    answers = {b"status": evil + b"\t1\t0\t0\n.\n", b"version": b"OK 1" + EVIL.encode() + b"\n"}
    with answering(answers) as server:
        use(server.address)

        page = page_of(viewer)

    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;\\x1b\\u202e" in page
    assert "1 function of other programs" in page.partition("<details")[2]


def test_of_many_functions_of_others_those_without_a_worker_come_first(viewer, use):
    idle = b"".join(b"a%d\t1\t0\t1\n" % number for number in range(500))
    with answering(VERSION | {b"status": idle + b"z\t1\t0\t0\n.\n"}) as server:
        use(server.address)

        others = page_of(viewer).partition("<details")[2]

    assert "501 functions of other programs" in others
    assert "401 more are not shown." in others
    assert others.partition("<td>")[2].startswith("z</td>")


def test_times_are_right_without_time_zones(viewer, settings):
    settings.USE_TZ = False
    record("default", "READY", 3)
    QueueSample.objects.create(queue="default", minute=_ago(5), waiting=7, running=0, workers=0)

    [queue] = [each for each in collect().queues if each.name == "default"]

    assert 175 < queue.oldest < 240
    assert queue.trend == "7 waiting, at most 7 in the last hour"
    assert page_of(viewer)


def test_an_error_of_a_server_is_escaped(viewer, use):
    with answering({b"status": f"<b>{EVIL}</b>\n.\n".encode()}) as server:
        use(server.address)

        page = page_of(viewer)

    assert "<script>alert" not in page
    assert "not a line of the admin command" in page


def test_the_number_of_queries_does_not_grow_also_in_trouble(
    viewer, use, settings, django_assert_num_queries, django_assert_max_num_queries
):
    entry = {"job": "tests.contrib.plain", "args": ["x"], "every": 30}
    settings.GEARMAN_SCHEDULE = {"one": entry}
    one = answering(VERSION | {b"status": b"tests.contrib.double\t1\t0\t1\n.\n"})
    two = answering(VERSION | {b"status": b"tests.contrib.double\t1\t0\t1\ntrail\t1\t0\t1\n.\n"})
    with one, two:
        use(one.address)
        with django_assert_max_num_queries(10) as few:
            page_of(viewer)
        for minutes in range(50):
            record("default", "READY", minutes)
            record("trail", "FAILED", minutes)
            outbox(60 * minutes)
        QueueSample.objects.bulk_create(
            QueueSample(queue=queue, minute=_ago(minutes), waiting=9, running=0, workers=1)
            for minutes in range(50)
            for queue in ("default", "trail")
        )
        settings.GEARMAN_SCHEDULE = {f"schedule {number}": entry for number in range(20)}
        PausedQueue.objects.create(queue="default")

        use(one.address, two.address, f"127.0.0.1:{free_port()}")
        with django_assert_num_queries(len(few)):
            page_of(viewer)


def _ago(minutes: int) -> datetime.datetime:
    now = timezone.now().replace(second=0, microsecond=0)
    return now - datetime.timedelta(minutes=minutes)


# Troubles


def outbox(seconds: float, **columns: object) -> None:
    now = timezone.now()
    at = {"created_at": now - datetime.timedelta(seconds=seconds), "next_try_at": now}
    OutboxJob.objects.create(**{"function": "f", "job_id": "1", "unique": "1", **at, **columns})


def test_nothing_is_said_about_an_outbox_that_is_sent(viewer):
    outbox(1)

    assert "outbox" not in page_of(viewer)


def test_jobs_that_wait_or_are_stuck_in_the_outbox_are_named(viewer):
    for seconds in (31, 400):
        outbox(seconds)
    outbox(500, next_try_at=None)

    page = page_of(viewer)

    assert "2 jobs have waited for more than 30 s in the outbox. " in page
    assert (
        "1 job has been refused by the job server. gearman_outbox --status shows the reasons"
        in page
    )


def test_schedules_that_no_scheduler_serves_are_named(viewer, settings):
    entry = {"job": "tests.contrib.plain", "args": ["x"], "every": 30}
    settings.GEARMAN_SCHEDULE = {f"{EVIL}{number}": entry for number in range(7)} | {"wrong": {}}

    page = page_of(viewer)

    assert page.count("no scheduler has seen it yet") == 4
    assert "3 more schedules are in trouble." in page
    assert "GEARMAN_SCHEDULE[&#x27;wrong&#x27;]" in page
    assert "<script>alert" not in page


@pytest.mark.parametrize(
    ("table", "app"),
    [
        *(("jobrecord", "store"), ("outbox", "store"), ("pausedqueue", "store")),
        ("queuesample", "dashboard"),
    ],
)
def test_a_missing_table_is_named_with_its_remedy_and_the_rest_is_shown(viewer, use, table, app):
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE gearman_{table} RENAME TO gearman_away")
    with answering(VERSION | {b"status": b"tests.contrib.double\t1\t0\t1\n.\n"}) as server:
        use(server.address)

        page = page_of(viewer)

    assert f"Run: manage.py migrate gearman_{app} --database default" in page
    assert row_of(page, "default").startswith("default 0 of 1 0 1 0")


def store_errors(monkeypatch, *answers: SupervisorInfo, problems: tuple[str, ...] = ()) -> None:
    found = Answers(answers, problems)
    monkeypatch.setattr(overview, "list_supervisors", lambda timeout: found)


@pytest.mark.parametrize("has_zones", [True, False])
def test_errors_of_the_store_are_named_with_their_supervisor(
    viewer, monkeypatch, settings, has_zones
):
    settings.USE_TZ = has_zones
    last = datetime.datetime.now(datetime.UTC)
    since = last - datetime.timedelta(days=40)
    settings.TIME_ZONE = "America/New_York"
    errors = StoreErrors(1200, since, last, f"OperationalError: {EVIL}")
    store_errors(monkeypatch, supervisor(errors), supervisor(name="app-2:1"))

    page = page_of(viewer)

    [line] = [each for each in page.splitlines() if "Store of" in each]
    assert "Store of app-1:4711: 1,200 records were not written since " in line
    for moment in (since, last):
        assert dateformat.format(moment.astimezone(ZONE), "j N, H:i") in line
    assert "OperationalError: &lt;script&gt;" in line


def test_an_old_error_of_the_store_is_no_longer_trouble(viewer, monkeypatch):
    old = timezone.now() - datetime.timedelta(hours=25)
    store_errors(monkeypatch, supervisor(StoreErrors(1, old, old, "x")))

    assert "Store of" not in page_of(viewer)


def test_a_supervisor_that_hangs_is_named(viewer, monkeypatch):
    problem = "supervisor app-1:4711: it has not answered in 1 s"
    store_errors(monkeypatch, problems=(problem, "job server x: refused"))

    page = page_of(viewer)

    assert problem in page
    assert "job server x" not in page, "the line of the servers has it"


# Pausing


@pytest.fixture
def controller(staff):
    return staff("view_jobrecord", "control_worker", name="controller")


def test_a_queue_is_paused_and_resumed_with_entries_in_the_log(controller):
    paused = controller.post(PAUSE, {"queue": "trail"}, follow=True).content.decode()
    again = controller.post(PAUSE, {"queue": "trail"}, follow=True).content.decode()
    resumed = controller.post(RESUME, {"queue": "trail"}, follow=True).content.decode()

    assert "Queue trail is paused: its queued jobs wait" in paused
    assert row_of(paused, "trail").startswith("trail paused by controller, ")
    assert row_of(paused, "trail").endswith(" Resume")
    assert "Queue trail was paused already." in again
    assert "Queue trail is resumed" in resumed
    assert row_of(resumed, "trail").endswith(" Pause")
    entries = LogEntry.objects.order_by("pk").values_list(
        "user__username", "object_repr", "change_message"
    )
    assert [*entries] == [("controller", "trail", "Paused"), ("controller", "trail", "Resumed")]


@pytest.mark.parametrize("address", [PAUSE, RESUME])
def test_pausing_is_for_those_who_control_workers(viewer, staff, address):
    forger = staff("view_jobrecord", "control_worker", enforce_csrf_checks=True)

    assert "Pause</button>" not in page_of(viewer)
    assert viewer.post(address, {"queue": "trail"}).status_code == 403
    assert forger.post(address, {"queue": "trail"}).status_code == 403
    assert forger.get(address).status_code == 405
    assert not PausedQueue.objects.exists()


@pytest.mark.parametrize("queue", ["", "x" * 5000, "\0", "a b", "mail\n", "<b> x"])
@pytest.mark.parametrize("address", [PAUSE, RESUME])
def test_an_unknown_queue_is_an_error_on_the_page(controller, address, queue):
    page = controller.post(address, {"queue": queue}, follow=True).content.decode()

    assert 'class="error"' in page
    assert "<script>alert" not in page
    assert not LogEntry.objects.exists()


def test_a_paused_queue_that_is_gone_from_the_project_can_be_resumed(controller):
    PausedQueue.objects.create(queue=EVIL, paused_by=EVIL)

    page = page_of(controller)
    controller.post(RESUME, {"queue": EVIL})

    assert "<script>alert" not in page
    assert "by &lt;script&gt;" in page
    assert not PausedQueue.objects.exists()


# Samples


def test_each_minute_has_one_sample_however_many_supervisors_take_it(use):
    answers = {b"status": b"tests.contrib.double\t14\t3\t4\n.\n"}
    old = _ago(60 * 24 + 1)
    QueueSample.objects.create(queue="default", minute=old, waiting=1, running=1, workers=1)
    with answering(VERSION | answers) as server:
        use(server.address)
        samplers = [Sampler(), Sampler()]

        seconds = [sampler.turn() for sampler in samplers for _ in range(2)]

    minutes = {sample.minute for sample in QueueSample.objects.filter(queue="default")}
    assert 1 <= len(minutes) <= 2, "two, if a new minute has just begun"
    assert old not in minutes
    sample = QueueSample.objects.filter(queue="default").latest("minute")
    assert (sample.waiting, sample.running, sample.workers) == (11, 3, 4)
    assert JobServer.objects.get().address == server.address
    assert all(0 <= each <= 65 for each in seconds)


def test_there_is_no_sample_while_no_server_answers(use):
    use(f"127.0.0.1:{free_port()}")

    Sampler().turn()

    assert not QueueSample.objects.exists()
    assert not JobServer.objects.exists()


def test_a_sparkline_has_a_gap_where_no_worker_took_a_sample(use):
    for minutes, waiting in ((2, 7), (3, 9), (30, 1)):
        QueueSample.objects.create(
            queue="default", minute=_ago(minutes), waiting=waiting, running=0, workers=0
        )

    [queue] = [each for each in collect().queues if each.name == "default"]

    assert [value for value in queue.waited if value is not None] == [1, 9, 7]
    assert queue.trend == "7 waiting, at most 9 in the last hour"
