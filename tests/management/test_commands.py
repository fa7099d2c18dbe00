from __future__ import annotations

import io

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from django_gearman.management.commands import gearman_worker


def run(*arguments: str) -> str:
    output = io.StringIO()
    call_command(*arguments, stdout=output)
    return output.getvalue()


# gearman_worker


@pytest.mark.parametrize("backend", ["eager", "memory"])
def test_a_worker_process_needs_a_server(settings, backend):
    settings.GEARMAN_BACKEND = backend
    with pytest.raises(CommandError, match=rf"GEARMAN_BACKEND is '{backend}'.*'gearman'"):
        run("gearman_worker")


@pytest.mark.parametrize("number", ["0", "-3", "abc", "1.5", ""])
def test_a_number_of_processes_is_one_or_more(number):
    with pytest.raises(CommandError, match="not a whole number above 0"):
        run("gearman_worker", f"-w{number}" if number else "--workers=")


@pytest.mark.parametrize(
    ("servers", "options", "reason"),
    [
        (["10.0.0.1:4730", "127.0.0.1:4730"], [], "is 10.0.0.1:4730, which is not an address"),
        (["jobs.example.org"], ["--check"], "is jobs.example.org:4730, which is not an address"),
        ([{"host": "localhost", "tls": {}}], [], "over TLS, which a server on this machine"),
        (["127.0.0.1:1"], ["--store", "jobs.db", "--workers=0"], "not a whole number above 0"),
        ([], [], "GEARMAN_SERVERS is empty"),
    ],
)
def test_a_server_that_cannot_be_is_refused(settings, servers, options, reason):
    settings.GEARMAN_BACKEND = "gearman"
    settings.GEARMAN_SERVERS = servers
    with pytest.raises(CommandError, match=reason):
        run("gearman_worker", "--with-server", *options)


def test_a_store_is_for_a_server(settings):
    settings.GEARMAN_BACKEND = "gearman"
    with pytest.raises(CommandError, match="--store is for the server that --with-server runs"):
        run("gearman_worker", "--store", "jobs.db")


def test_an_unknown_queue_is_refused_with_those_there_are(settings):
    settings.GEARMAN_BACKEND = "gearman"
    with pytest.raises(CommandError, match=r"'nope'; the queues are .*mail"):
        run("gearman_worker", "-q", "nope")


def test_wrong_settings_are_an_error_before_anything_starts(settings):
    settings.GEARMAN_BACKEND = "gearman"
    settings.GEARMAN_SERVERS = "127.0.0.1:4730"
    with pytest.raises(CommandError, match="must be a list"):
        run("gearman_worker")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-q", "mail:0"], "1 process or more"),
        (["-q", "mail:0"], "N must be at least 1"),
        (["-q", "mail:x"], "-q mail:x: 'x' is not a number of processes, like mail:2"),
        (["-q", "mail:-1"], "'-1' is not a number of processes"),
        (["-q", "mail:"], "'' is not a number of processes"),
        (["-q", "*:x"], "'x' is not a number of processes"),
        (["-q", "nope:x"], "no job is in queue 'nope:x'"),
        (["-q", ":3"], "no job is in queue ''"),
        (["-w", "3", "-q", "mail:2"], "-w 3 cannot be combined with -q mail:2"),
        (["-w", "3", "-q", "mail:2"], "number of processes of its own"),
        (["--grace-period", "0"], "not a number above 0"),
        (["--max-memory", "abc"], "not a number above 0"),
        (["--max-jobs", "1.5"], "not a whole number above 0"),
        (["--prefetch", "many"], "'many' is neither a whole number nor 'auto'"),
        (["--prefetch", "1.5"], "'1.5' is neither a whole number nor 'auto'"),
        (["--prefetch", "-1"], "expected 'auto' or a number from 0, got -1"),
        (["--grace-period", "-1"], "'-1' is not a number above 0"),
        (["--grace-period", "inf"], "'inf' is not a finite number"),
        (["--max-memory", "nan"], "'nan' is not a number above 0"),
        (["--max-lifetime", "1e999"], "'1e999' is not a finite number"),
        (["--max-jobs", "-1"], "'-1' is not a whole number above 0"),
        (["--workers", "9" * 5000], "is not a whole number above 0"),
        (["--log-format", "xml"], "invalid choice"),
        (["--health-file", "/no/such/directory/file"], "cannot be written to"),
    ],
)
def test_meaningless_arguments_are_refused(settings, arguments, message):
    settings.GEARMAN_BACKEND = "gearman"
    with pytest.raises(CommandError, match=message):
        run("gearman_worker", *arguments)


def test_the_help_says_which_queues_share_processes():
    text = " ".join(
        gearman_worker.Command().create_parser("", "gearman_worker").format_help().split()
    )

    assert "the queues of plain -q options share the -w processes" in text
