"""The page of supervisors and processes."""

from __future__ import annotations

import time
from functools import partial

import pytest
from django.contrib.admin.models import LogEntry

from django_gearman.contrib.dashboard.pages import workers
from django_gearman.contrib.dashboard.pages.workers import others_of
from django_gearman.contrib.store.control import (
    Answers,
    ControlError,
    ProcessInfo,
    RunningJob,
    SupervisorInfo,
)
from django_gearman.contrib.store.models import PausedQueue
from django_gearman.management.asking import ForeignWorker, Server, Servers
from tests.contrib.dashboard.servers import answering, hanging

ADDRESS = "/admin/gearman_dashboard/workers/"
RELOAD = f"{ADDRESS}reload/"
EVIL = "<script>alert(1)</script>"

pytestmark = pytest.mark.django_db


def process(pid: int, *jobs: RunningJob, state: str = "idle", failed: int = 0) -> ProcessInfo:
    return ProcessInfo(pid, f"worker mail {pid}", state, 47.4, jobs, 25, failed)


def running(name: str, seconds: float) -> RunningJob:
    return RunningJob("id", name, "mail", name, "s:1//H:1", seconds)


def supervisor(*processes: ProcessInfo, host: str = "web1", pid: int = 7) -> SupervisorInfo:
    return SupervisorInfo(
        f"{host}:{pid}", host, pid, ("mail",), "release 5", 7500.0, 53.0, processes
    )


@pytest.fixture
def answer(monkeypatch, settings):
    """Return a function that sets the answers of the supervisors, which take part in no unit test."""
    settings.GEARMAN_BACKEND = "eager"

    def answer(*supervisors: SupervisorInfo, problems: tuple[str, ...] = ()) -> None:
        found = Answers(supervisors, problems)
        monkeypatch.setattr(workers, "list_supervisors", lambda timeout: found)

    return answer


def test_a_process_shows_its_job_and_for_how_long(viewer, answer):
    busy = process(11, running("shop.send_mail", 200), state="running", failed=3)
    answer(supervisor(busy, process(12)))

    page = viewer.get(ADDRESS).content.decode()

    assert "1 of 2 processes busy" in page
    assert "up 2 h 5 min" in page
    assert 'shop.<wbr>send_mail <span class="gearman-seconds">3 min 20 s</span>' in page
    assert "pid 11, 47 MB, 25 done" in page
    assert "3 failed" in page
    assert 'href="/admin/gearman_dashboard/workers/?supervisor=web1%3A7&amp;pid=11#stack"' in page


def test_a_process_with_many_jobs_shows_some_and_counts_the_rest(viewer, answer):
    answer(supervisor(process(11, *(running(f"job{n}", n) for n in range(20)), state="running")))

    page = viewer.get(ADDRESS).content.decode()

    assert "job4" in page
    assert "job5" not in page
    assert "and 15 more" in page


def test_a_queue_is_paused_and_resumed_here_too(staff, viewer, answer):
    answer(supervisor(process(11)))
    PausedQueue.objects.create(queue="trail")
    controller = staff("view_jobrecord", "control_worker", name="controller")
    pause = "/admin/gearman_dashboard/overview/pause/"
    only_seen = viewer.get(ADDRESS).content.decode()
    shown = controller.get(ADDRESS).content.decode()

    answered = controller.post(pause, {"queue": "mail", "page": "workers"})

    assert "<li>mail</li>" in only_seen
    assert '<li>trail <span class="gearman-paused">paused</span></li>' in only_seen
    assert shown.count("Pause</button>") == shown.count("Resume</button>") == 1
    assert answered["Location"] == ADDRESS
    assert PausedQueue.objects.filter(queue="mail").exists()


@pytest.mark.parametrize("page", ["", "nonsense", "https://example.org/", "//example.org"])
def test_after_pausing_no_other_page_follows(staff, answer, page):
    controller = staff("view_jobrecord", "control_worker", name="controller")

    answered = controller.post(
        "/admin/gearman_dashboard/overview/pause/", {"queue": "trail", "page": page}
    )

    assert answered["Location"] == "/admin/gearman_dashboard/overview/"


def test_everything_of_a_supervisor_is_escaped(viewer, answer):
    busy = ProcessInfo(11, EVIL, "running", 1.0, (running(EVIL, 1),), 1, 0)
    evil = SupervisorInfo(EVIL, EVIL, 7, (EVIL,), EVIL, 1.0, 1.0, (busy,))
    answer(evil, problems=(f"supervisor {EVIL}: it has not answered",))

    page = viewer.get(ADDRESS).content.decode()

    assert "<script>alert" not in page
    assert page.count("&lt;script&gt;") >= 6


def test_the_number_of_queries_does_not_grow(
    viewer, answer, django_assert_num_queries, django_assert_max_num_queries
):
    answer(supervisor(process(1)))
    with django_assert_max_num_queries(10) as few:
        viewer.get(ADDRESS)

    answer(*(supervisor(*map(process, range(50)), pid=pid) for pid in range(5)))
    with django_assert_num_queries(len(few)):
        viewer.get(ADDRESS)


# Stacks


def test_the_stack_of_a_process_is_asked_for_and_escaped(viewer, answer, monkeypatch):
    asked = []

    def stack(*arguments: object) -> str:
        asked.append(arguments)
        return f'File "{EVIL}", line 1\x1b\nnext'

    answer(supervisor(process(11)))
    monkeypatch.setattr(workers, "stack", stack)

    page = viewer.get(ADDRESS, {"supervisor": "web1:7", "pid": "11"}).content.decode()

    assert asked == [("web1:7", 11, 1.0)]
    assert "line 1\\x1b\nnext" in page.replace("&quot;", '"')
    assert "<script>alert" not in page


def test_a_supervisor_that_does_not_answer_is_named(viewer, answer, monkeypatch):
    def stack(*arguments: object) -> str:
        raise ControlError(f"no job server knows a supervisor {EVIL!r}")

    answer()
    monkeypatch.setattr(workers, "stack", stack)

    page = viewer.get(ADDRESS, {"supervisor": EVIL, "pid": "1"}).content.decode()

    assert "no job server knows a supervisor" in page
    assert "<script>alert" not in page


@pytest.mark.parametrize("pid", ["", "x", "-1", "1.5", "9" * 5000, "１２", "1\n"])
def test_no_stack_is_asked_for_without_a_process(viewer, answer, pid):
    answer()

    response = viewer.get(ADDRESS, {"supervisor": "web1:7", "pid": pid})

    assert response.status_code == 200
    assert 'id="stack"' not in response.content.decode()


# Other workers


def test_workers_of_others_are_listed_and_escaped(viewer, use):
    ours = b"33 10.0.0.7 shop/1/control : django_gearman.control:shop:1\n"
    evil = f"34 10.0.0.8 {EVIL} : resize {EVIL}\n35 10.0.0.9 client :\n".encode()
    answers = {b"status": b".\n", b"version": b"OK 1\n", b"workers": ours + evil + b".\n"}
    with answering(answers) as server:
        use(server.address)

        page = viewer.get(ADDRESS).content.decode()

    others = page.partition('<details id="others">')[2]
    assert "1 other worker," in others
    assert "10.0.0.8" in others
    assert "resize, &lt;script&gt;" in others
    assert "<script>alert" not in page


def test_processes_of_the_supervisors_are_not_other_workers():
    def worker(client_id: str, address: str = "10.0.0.7") -> ForeignWorker:
        return ForeignWorker(address, client_id, ("f",))

    mine, same_pid_elsewhere = worker("web1/11/mail"), worker("web2/11/mail")
    states = [Server("s:1", workers=[mine, same_pid_elsewhere]), Server("s:2", workers=[mine])]

    assert others_of(Servers(states), [supervisor(process(11))]) == [same_pid_elsewhere]


def test_a_server_that_hangs_costs_its_time_once_in_all(viewer, use, monkeypatch):
    monkeypatch.setattr(workers, "PATIENCE", 5.0)
    monkeypatch.setattr(workers, "ask_servers", partial(workers.ask_servers, 5.0))
    with hanging() as server:
        use(server.address)
        viewer.get("/admin/gearman_dashboard/jobs/")  # loads what the first page has to load
        began = time.monotonic()

        page = viewer.get(ADDRESS, {"supervisor": "web1:7", "pid": "11"}).content.decode()
        took = time.monotonic() - began

    assert server.address in page
    assert took < 9.5, f"the page took {took:.1f} s: it asks one after another"


# Reloading


def test_reloading_is_for_those_who_control_workers(staff, viewer, answer, monkeypatch):
    answer(supervisor())
    reloaded = []

    def reload(name: str) -> Answers:
        reloaded.append(name)
        return Answers((supervisor(),))

    monkeypatch.setattr(workers, "reload", reload)
    controller = staff("view_jobrecord", "control_worker", name="controller")

    assert "Reload" not in viewer.get(ADDRESS).content.decode()
    assert viewer.post(RELOAD, {"supervisor": "web1:7"}).status_code == 403
    assert controller.get(RELOAD).status_code == 405
    assert reloaded == []

    page = controller.post(RELOAD, {"supervisor": "web1:7"}, follow=True).content.decode()

    assert reloaded == ["web1:7"]
    assert "Supervisor web1:7 reloads its code." in page
    [entry] = LogEntry.objects.all()
    assert (entry.user.username, entry.object_repr) == ("controller", "web1:7")
    assert entry.get_change_message() == "Told to reload its code."


def test_a_forged_request_does_nothing(staff, answer, monkeypatch):
    monkeypatch.setattr(workers, "reload", lambda name: pytest.fail("it was forged"))
    answer()
    browser = staff("control_worker", "view_jobrecord", enforce_csrf_checks=True)

    assert browser.post(RELOAD, {"supervisor": "web1:7"}).status_code == 403
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize("name", ["", "nobody:1", EVIL])
def test_an_unknown_supervisor_is_an_error_on_the_page(staff, answer, name):
    answer()
    browser = staff("control_worker", "view_jobrecord")

    page = browser.post(RELOAD, {"supervisor": name}, follow=True).content.decode()

    assert 'class="error"' in page
    assert "<script>alert" not in page
    assert not LogEntry.objects.exists()
