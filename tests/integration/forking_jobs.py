"""Jobs that fork."""

from __future__ import annotations

import concurrent.futures
import ctypes
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from django_gearman import gearman_job
from tests.integration.marks import leave


def double(number: int) -> int:
    return 2 * number


def wait_for_ever() -> None:
    time.sleep(600)


@gearman_job(timeout=30)
def pools(method: str, number: int) -> list[int]:
    """Open and close a pool of two, as often as asked."""
    context = multiprocessing.get_context(method)
    for _ in range(number):
        with context.Pool(2) as pool:
            result = pool.map(double, [1, 2])
    return result


@gearman_job(timeout=30)
def executor() -> list[int]:
    context = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as processes:
        return list(processes.map(double, [1, 2]))


@gearman_job(timeout=30)
def terminated(how: str) -> int | None:
    child = multiprocessing.get_context("fork").Process(target=wait_for_ever)
    child.start()
    if how == "terminate":
        child.terminate()
    else:
        os.kill(int(child.pid or 0), getattr(signal, how))
    child.join(20)
    code = child.exitcode
    child.kill()
    return code


@gearman_job(timeout=30)
def escaping(how: str) -> list[Any]:
    """Fork a child that comes back; return what has become of it."""
    child = os.fork()
    if not child:
        leave(f"child{os.getpid()}")
        return WAYS[how]()
    _, status = os.waitpid(child, 0)
    return [child, os.waitstatus_to_exitcode(status)]


@gearman_job(timeout=30)
async def escaping_async(how: str) -> list[Any]:
    return escaping(how)


@gearman_job(timeout=30)
def escaping_from_a_thread() -> list[Any]:
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.extend(escaping("returns")))
    thread.start()
    thread.join()
    return results


def _raise() -> list[Any]:
    raise ValueError("in the child")


WAYS = {
    "returns": lambda: ["from the child"],
    "raises": _raise,
    "exits": lambda: sys.exit(7),
    "says": lambda: sys.exit("farewell"),
}


@gearman_job
def dies_with_a_grandchild(how: str) -> None:
    """Leave a running process behind, and die."""
    leave("run")
    leave(f"grandchild{STARTS[how]()}")
    os.kill(os.getpid(), signal.SIGKILL)


def _fork(fork: Callable[[], int]) -> int:
    child = fork()
    if not child:
        time.sleep(600)
        os._exit(0)
    return child


STARTS: dict[str, Callable[[], int]] = {
    "fork": lambda: _fork(os.fork),
    "fork of C": lambda: _fork(ctypes.PyDLL(None).fork),
    "popen": lambda: subprocess.Popen(["sleep", "600"]).pid,
    "spawn": lambda: os.posix_spawnp("sleep", ["sleep", "600"], os.environ),
}


@gearman_job
def connections_of_a_child() -> int:
    """Return how many connections over a network a forked child has open."""
    child = os.fork()
    if not child:
        os._exit(sum(_is_connection(int(name)) for name in os.listdir("/proc/self/fd")))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _is_connection(descriptor: int) -> bool:
    try:
        with socket.socket(fileno=os.dup(descriptor)) as opened:
            return opened.family == socket.AF_INET
    except OSError:
        return False
