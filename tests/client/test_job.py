from __future__ import annotations

import asyncio
import importlib

import pytest

from django_gearman import JobContext, RetryJob, gearman_job
from django_gearman.backends import get_backend
from django_gearman.backends.base import AssignedJob, WorkData, WorkStatus, WorkWarning
from django_gearman.client.job import Job
from django_gearman.exceptions import JobAlreadyRegistered, JobNotRegistered, JobRaised, JobTimeout
from django_gearman.jobs.registry import JobRegistry, registry
from django_gearman.serializers import Call, JSONSerializer
from tests.app import gearman_jobs as jobs
from tests.support.workers import work_off

# Declaring


def test_a_job_stays_the_function_it_was():
    assert jobs.add(1, right=2) == 3
    assert jobs.echo.__name__ == "echo"
    assert jobs.echo.__doc__ == "Return the argument."
    assert jobs.echo.__module__ == "tests.app.gearman_jobs"
    assert jobs.echo.__wrapped__ is jobs.echo.func


def test_a_name_is_the_import_path_without_gearman_jobs():
    assert (jobs.echo.name, jobs.echo.queue) == ("tests.app.echo", "default")
    assert (jobs.send.name, jobs.send.queue) == ("send-mail", "mail")


def test_a_package_of_jobs_names_its_modules():
    def build() -> None: ...

    build.__module__ = "shop.gearman_jobs.reports"

    assert Job(build).name == "shop.reports.build"


@pytest.mark.parametrize("name", ["with space", "", "\x00", "a" * 256, "ä" * 128, "x@delayed"])
def test_a_name_that_cannot_be_used_is_refused(name):
    with pytest.raises(ValueError, match="is not a job name"):
        gearman_job(name=name)(lambda: None)
    with pytest.raises(ValueError, match="is not a queue name"):
        gearman_job(name, "fine")(lambda: None)


@pytest.mark.parametrize("name", ["*", "mail:2", "mail:"])
def test_a_queue_is_not_named_as_a_worker_understands_otherwise(name):
    with pytest.raises(ValueError, match="is not a queue name: 'gearman_worker -q' reads"):
        gearman_job(name, "fine")(lambda: None)


@pytest.mark.parametrize("wrong", [5, ["mail"], None])
def test_a_queue_is_a_string(wrong):
    with pytest.raises(TypeError, match="a queue name is a string"):
        gearman_job(wrong)(lambda: None)


@pytest.mark.parametrize("wrong", [JobRegistry, 5, JobRegistry()])
def test_only_functions_are_jobs(wrong):
    with pytest.raises(TypeError, match="declare functions"):
        gearman_job(name="wrong")(wrong)


def test_two_jobs_of_one_name_are_refused_with_both_places():
    with pytest.raises(JobAlreadyRegistered) as caught:
        gearman_job(name="tests.app.echo")(test_only_functions_are_jobs)

    assert "tests.app.gearman_jobs.echo" in str(caught.value)
    assert "test_only_functions_are_jobs" in str(caught.value)
    assert registry.get("tests.app.echo").func is jobs.echo.func


def test_one_function_cannot_be_two_jobs_of_one_name():
    with pytest.raises(JobAlreadyRegistered):
        gearman_job("other-queue", "tests.app.echo")(jobs.echo.func)


def test_attributes_of_a_function_do_not_become_those_of_its_job():
    def function(): ...

    function.name, function.queue = "other", "other queue"
    job = Job(function, name="own-name", queue="own-queue")

    assert (job.name, job.queue, job.func) == ("own-name", "own-queue", function)


def test_a_method_is_not_a_job():
    with pytest.raises(TypeError, match=r"Shop.send .* is a method"):

        class Shop:
            @gearman_job
            def send(self): ...


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"pth": "x"}, r"'pth'; did you mean 'path'\?"),
        ({"path": "x", "unique": True}, r"'unique'; an option is given before: using\(unique="),
        ({"path": "x", "colour": 1}, "unexpected keyword argument 'colour'$"),
    ],
)
def test_an_argument_that_a_job_lacks_is_named(kwargs, message):
    def resize(path): ...

    with pytest.raises(TypeError, match=message):
        Job(resize, name="resize").check_call(Call((), kwargs))


def test_a_job_declares_its_serializer_itself():
    with pytest.raises(ValueError, match="is declared here"):
        jobs.echo.using(serializer="pickle").do(1)


def test_a_module_may_be_reloaded(tmp_path, monkeypatch):
    (tmp_path / "reloaded_jobs.py").write_text(
        "from django_gearman import gearman_job\n\n"
        "@gearman_job(name='reloaded')\ndef echo(value):\n    return value\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "_jobs", dict(registry._jobs))  # forget it after this test
    module = importlib.import_module("reloaded_jobs")
    before = module.echo

    importlib.reload(module)

    assert registry.get("reloaded") is module.echo is not before
    assert module.echo.do(1) == 1


def test_a_job_that_takes_a_context_needs_a_parameter_for_it():
    with pytest.raises(TypeError, match="needs a parameter"):
        gearman_job(name="no-context", takes_context=True)(lambda: None)
    with pytest.raises(TypeError, match="needs a parameter"):
        gearman_job(name="no-context", takes_context=True)(lambda *, a: None)


def test_a_context_may_be_taken_by_star_args():
    @gearman_job(name="star-context", takes_context=True)
    def everything(*args):
        return [type(args[0]).__name__, *args[1:]]

    assert everything.do(1, 2) == ["JobContext", 1, 2]


# Submitting


def test_do_returns_the_result():
    assert jobs.add.do(1, right=2) == 3
    assert jobs.nothing.do() == "ran"
    assert jobs.reverse_bytes.do(b"\0\xff") == b"\xff\0"
    assert jobs.later.do(1) == 2


def test_do_raises_what_went_wrong(memory):
    with pytest.raises(JobTimeout):
        jobs.add.using(wait=0).do(1)
    with pytest.raises(TypeError, match="missing a required argument"):
        jobs.add.do()


def test_do_raises_the_error_of_the_job():
    with pytest.raises(JobRaised, match="boom"):
        jobs.fail.do("boom")


def test_any_argument_name_is_free():
    @gearman_job(name="any-name")
    def anything(self, data, unique, background, task, args, kwargs):
        return [self, data, unique, background, task, args, kwargs]

    names = ["self", "data", "unique", "background", "task", "args", "kwargs"]
    assert anything.do(**{name: name for name in names}) == names


def test_do_background_queues(memory, ran):
    request = jobs.note.do_background(1)
    assert (request.complete, ran) == (True, [])

    work_off()

    assert ran == [1]


def test_map_keeps_the_order():
    assert jobs.add.map([3, 1, 2]) == [13, 11, 12]
    assert jobs.echo.map([(1, 2), None]) == [(1, 2), None]
    assert jobs.echo.map([]) == []


def test_map_raises_when_one_fails_or_the_time_is_up(memory):
    with pytest.raises(JobTimeout):
        jobs.echo.map([1, 2], timeout=0.01)


def test_using_leaves_the_job_as_it_is(memory):
    urgent = jobs.note.using(priority="HIGH", unique="u")

    assert urgent.do_background(1).priority == "HIGH"
    assert urgent.using(unique="v").do_background(1).unique == "v"
    assert jobs.note.do_background(1).priority is None


def test_async_code_has_the_same_methods(ran):
    async def everything():
        result = await jobs.add.ado(1)
        request = await jobs.note.ado_background("x")
        results = await jobs.add.amap([1, 2])
        return result, request.complete, results

    assert asyncio.run(everything()) == (11, True, [11, 12])
    assert ran == ["x"]


def test_a_job_may_submit_another():
    assert jobs.submit_another.do("inner") == "inner"


# Running


class Session:
    def __init__(self):
        self.sent = []

    def send(self, job, update):
        self.sent.append(update)


@pytest.fixture
def context():
    assigned = AssignedJob("handle", "function", "unique", b"")
    return JobContext(jobs.report, assigned, Session(), JSONSerializer(), attempt=2)


def test_a_context_tells_of_its_job(context):
    assert (context.name, context.queue) == ("tests.app.report", "default")
    assert (context.handle, context.unique, context.attempt) == ("handle", "unique", 2)


def test_a_context_sends_data_warnings_and_status(context):
    context.set_status(1, 2**32 - 1)
    context.send_data({"a": (1,)})
    context.send_warning("w")

    status, data, warning = context._session.sent
    assert status == WorkStatus(1, 2**32 - 1)
    assert data == WorkData(JSONSerializer().dumps({"a": (1,)}))
    assert warning == WorkWarning(b'"w"')


@pytest.mark.parametrize("numbers", [(0.5, 1), ("1", 2), (True, 1), (None, 1)])
def test_progress_is_reported_in_whole_numbers(context, numbers):
    with pytest.raises(TypeError, match="whole numbers"):
        context.set_status(*numbers)


@pytest.mark.parametrize("numbers", [(-1, 1), (1, 2**32)])
def test_progress_has_limits(context, numbers):
    with pytest.raises(ValueError, match="outside"):
        context.set_status(*numbers)


def test_a_background_job_can_ask_to_be_run_again(memory, ran):
    jobs.try_again.do_background(3)

    assert work_off() == 3
    assert ran == [1, 2, 3]


def test_a_job_can_be_run_again_later(memory, ran):
    jobs.try_again.do_background(2, delay=60)
    assert (work_off(), ran) == (1, [1])

    get_backend().server.offset = 61
    assert (work_off(), ran) == (1, [1, 2])


def test_a_foreground_job_that_asks_to_be_run_again_has_failed(ran):
    with pytest.raises(JobRaised, match="RetryJob"):
        jobs.try_again.do(2)
    assert ran == [1]
    assert RetryJob(5).delay == 5


# The registry


def test_a_registry_hints_at_what_was_meant():
    with pytest.raises(JobNotRegistered, match=r"did you mean 'tests\.app\.echo'\?"):
        registry.get("echo")
    with pytest.raises(LookupError, match="INSTALLED_APPS"):
        JobRegistry().get("x")


def test_queues_select_jobs():
    assert [job.name for job in registry.select(["mail"])] == ["send-mail"]
    assert registry.select(["*"]) == registry.select(None) != []
    with pytest.raises(ValueError, match=r"no job is in queue 'nope'; the queues are .*mail"):
        registry.select(["mail", "nope"])
    with pytest.raises(ValueError, match="none was named"):
        registry.select([])
    with pytest.raises(ValueError, match=r"gearman_jobs\.py"):
        JobRegistry().select()


def test_a_class_method_is_not_a_job():
    with pytest.raises(TypeError, match=r"Shop.send .* is a method"):

        class Shop:
            @gearman_job
            @classmethod
            def send(cls): ...

    with pytest.raises(TypeError, match="can only declare functions"):

        class Other:
            @gearman_job
            @property
            def send(self): ...


@pytest.mark.parametrize("outer", ["job", "staticmethod"])
def test_a_static_method_is_a_job_in_either_order(outer):
    first, second = gearman_job(name=f"static-{outer}"), staticmethod
    if outer == "staticmethod":
        first, second = second, first

    class Shop:
        @first
        @second
        def reverse(text):  # noqa: N805 - it is static
            return text[::-1]

    assert Shop.reverse("abc") == "cba"
    assert Shop.reverse.name == f"static-{outer}"


def test_a_generator_is_not_a_job():
    with pytest.raises(TypeError, match=r"rows \(.*test_job.py:\d+\) has `yield`.* return a list"):

        @gearman_job
        def rows():
            yield 1

    with pytest.raises(TypeError, match="has `yield`"):

        @gearman_job(name="rows")
        async def rows():
            yield 1


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("delay", r"write do_background\("),
        ("enqueue", r"write do_background\("),
        ("apply_async", r"write using\(\.\.\.\)\.do_background\("),
        ("delay_on_commit", r"write using\(on_commit=True\)\.do_background\("),
        ("dealy", "has no attribute 'dealy'$"),
    ],
)
def test_methods_of_other_libraries_say_what_to_write_instead(name, instead):
    with pytest.raises(AttributeError, match=instead):
        getattr(jobs.echo, name)
    assert not hasattr(jobs.echo.using(priority="HIGH"), name)
