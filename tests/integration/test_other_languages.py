"""Clients and workers in other languages, with our workers and clients."""

from __future__ import annotations

import datetime
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator

import pytest

from django_gearman import GearmanClient
from django_gearman.exceptions import JobFailed, JobRaised
from django_gearman.testing.programs import INCLUDED, included_server
from tests.integration.conftest import workers_ready
from tests.support.gearmand import Gearmand, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("production")]

FLAKY = "tests.integration.flaky"
PHP_CLIENT = """
$client = new GearmanClient();
$client->addServer("127.0.0.1", (int) $argv[1]);
"""
PHP_CALL = f"""
do {{
    $client->doNormal("{FLAKY}", "99", "b:42");
    echo [GEARMAN_WORK_WARNING => "warning ", GEARMAN_WORK_FAIL => "failed"][$client->returnCode()];
}} while ($client->returnCode() == GEARMAN_WORK_WARNING);
"""
PHP_WORKER = """
$worker = new GearmanWorker();
$worker->addServer("127.0.0.1", (int) $argv[1]);
$worker->setTimeout(500);
$worker->addFunction("php.echo", fn ($job) => "<" . $job->workload() . ">");
$worker->addFunction("php.unique", fn ($job) => $job->unique());
$worker->addFunction("php.fail", function ($job) { $job->sendWarning("no paper"); $job->sendFail(); });
while ($worker->work() || $worker->returnCode() == GEARMAN_TIMEOUT);
"""
PERL_WORKER = """
use Gearman::Worker;
my $worker = Gearman::Worker->new(job_servers => ["127.0.0.1:$ARGV[0]"]);
$worker->register_function("perl.upper", sub { uc $_[0]->arg });
$worker->register_function("perl.die", sub { die "out of ink" });
$worker->work while 1;
"""
PERL_CLIENT = """
use Gearman::Client;
my $client = Gearman::Client->new(job_servers => ["127.0.0.1:$ARGV[0]"]);
"""


def interpreter(program: str, *probe: str) -> list[str]:
    """Return how to run a program in a language; the change must be tested where all are required."""
    found = shutil.which(program)
    if (
        found is None
        or subprocess.run([found, *probe], capture_output=True, check=False).returncode
    ):
        missing = (
            f"{program} with gearman: apt-get install php-cli php-gearman libgearman-client-perl"
        )
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return [found]


@pytest.fixture(params=[pytest.param("gearmand", marks=pytest.mark.gearmand), INCLUDED])
def own_gearmand(request) -> Iterator[Gearmand]:
    """A job server for one test: gearmand, and the included one."""
    program = included_server() if request.param == INCLUDED else None
    with Gearmand(program=program) as server:
        yield server


@pytest.fixture(scope="module")
def php() -> list[str]:
    return [*interpreter("php", "-r", "new GearmanClient();"), "-r"]


@pytest.fixture(scope="module")
def perl() -> list[str]:
    return [*interpreter("perl", "-MGearman::Client", "-e", "1"), "-e"]


@pytest.fixture
def serve(own_gearmand: Gearmand) -> Iterator[Callable[..., None]]:
    """Start a worker, and wait until the server knows it."""
    started = []

    def start(function: str, *program: str) -> None:
        started.append(subprocess.Popen([*program, str(own_gearmand.port)]))
        workers_ready(own_gearmand, 1, function)

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def run(own_gearmand: Gearmand) -> Callable[..., subprocess.CompletedProcess]:
    def run(*program: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [*program, str(own_gearmand.port)], capture_output=True, timeout=60, check=False
        )

    return run


# Their clients


def test_background_jobs_of_a_c_client_are_retried_and_others_fail(launch, own_gearmand, trail):
    launch("gearman_worker")
    workers_ready(own_gearmand, 1)
    client = [str(shutil.which("gearman")), "-h", "127.0.0.1", "-p", str(own_gearmand.port)]

    subprocess.run([*client, "-b", "-f", FLAKY, "99"], check=True, timeout=60)
    subprocess.run([*client, "-b", "-u", "b:42", "-f", FLAKY, "99"], check=True, timeout=60)
    wait_until(lambda: trail().count("attempt3") == 2, "the last attempt of both")
    assert sorted(trail()) == sorted(["attempt1", "attempt2", "attempt3"] * 2)

    for unique in ("b:42", "f:42", "42"):
        done = subprocess.run(
            [*client, "-u", unique, "-f", FLAKY, "99"], capture_output=True, timeout=60, check=False
        )
        assert done.returncode == 1
        assert b"not yet" in done.stderr
    assert trail().count("attempt1") == 5
    assert trail().count("attempt2") == 2


def test_a_background_job_of_a_c_client_is_retried_when_its_process_is_killed(
    launch, own_gearmand, trail
):
    launch("gearman_worker")
    workers_ready(own_gearmand, 1)
    client = [str(shutil.which("gearman")), "-h", "127.0.0.1", "-p", str(own_gearmand.port)]

    subprocess.run(
        [*client, "-b", "-f", "tests.integration.endless", '"careless"'], check=True, timeout=60
    )

    wait_until(lambda: trail().count("careless") == 2, "the second attempt")


def test_jobs_of_a_php_client(php, launch, run, own_gearmand, trail):
    launch("gearman_worker")
    workers_ready(own_gearmand, 1)

    done = run(*php, f'{PHP_CLIENT} $client->doBackground("{FLAKY}", "99");')
    assert done.returncode == 0
    wait_until(lambda: "attempt3" in trail(), "the last attempt")

    done = run(*php, f"{PHP_CLIENT} {PHP_CALL}")
    assert done.stdout.decode().split()[-1] == "failed"
    assert trail().count("attempt1") == 2


def test_jobs_of_a_perl_client_have_no_unique_to_ask_for(perl, launch, run, own_gearmand, trail):
    worker = launch("gearman_worker")
    workers_ready(own_gearmand, 1)

    done = run(*perl, f'{PERL_CLIENT} $client->dispatch_background("{FLAKY}", "99");')
    assert done.returncode == 0
    wait_until(lambda: "not yet" in worker.output, "the failure")
    done = run(
        *perl, f'{PERL_CLIENT} print ${{$client->do_task("gearman_example.reverse", q("hello"))}};'
    )

    assert (done.stdout, done.stderr) == (b'"olleh"', b"")
    assert trail() == ["attempt1"]


# Their workers


def test_a_php_worker(php, serve, client: GearmanClient):
    serve("php.echo", *php, PHP_WORKER)
    client = client.using(wait=30)
    raw = client.using(serializer="raw")

    assert raw.submit_job("php.echo", "grüß".encode()).result == "<grüß>".encode()
    assert raw.submit_job("php.echo", b"").result == b"<>"
    assert raw.submit_job("php.unique", b"", unique="mine").result == b"f:dj:mine"
    assert client.submit_job("php.echo", {"width": 3}, poll_timeout=30).exception is None
    with pytest.raises(JobFailed, match="failed: no paper"):
        print(client.submit_job("php.fail", 1).result)


def test_a_delayed_job_reaches_a_php_worker(php, serve, client: GearmanClient, own_gearmand):
    serve("php.echo", *php, PHP_WORKER)
    later = client.using(run_after=datetime.timedelta(seconds=1))

    request = later.submit_job("php.echo", "later", background=True)

    wait_until(lambda: not client.get_job_status(request).status["known"], "it has run in time", 10)
    assert own_gearmand.totals()["php.echo"] == (0, 0, 1)


def test_a_perl_worker(perl, serve, client: GearmanClient):
    serve("perl.upper", *perl, PERL_WORKER)
    client = client.using(wait=30)

    assert client.submit_job("perl.upper", "hello").result == "HELLO"
    with pytest.raises(JobRaised) as caught:
        print(client.submit_job("perl.die", 1).result)
    assert caught.value.message.startswith("out of ink at ")
