"""
The demo: the site and a worker with its own job server, started and stopped together.

`python -m gearman_example.shop --help` shows the options.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from django.contrib.auth import get_user_model
from django.core.management import execute_from_command_line

SITE_PORT, SERVER_PORT = 8000, 4730
NAME = PASSWORD = "demo"  # of the admin


def main() -> str | None:
    """Run the demo until Ctrl-C; return the reason if it ends for another one."""
    parser = argparse.ArgumentParser(prog="python -m gearman_example.shop", description=__doc__)
    parser.add_argument(
        "--free-ports",
        action="store_true",
        help=f"use ports that are free, in place of {SITE_PORT} and {SERVER_PORT}",
    )
    parser.add_argument("--data", type=Path, help="keep database and uploads in this directory")
    options = parser.parse_args()
    ports = [0, 0] if options.free_ports else [SITE_PORT, SERVER_PORT]
    try:
        site, server = map(free_address, ports)
    except OSError as error:
        return f"{error}. Stop the program that uses it, or choose free ports: --free-ports"
    for number in (signal.SIGTERM, signal.SIGHUP):  # also when the terminal is closed
        signal.signal(number, signal.default_int_handler)  # as Ctrl-C does
    with ExitStack() as stack:
        data = options.data or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        data.mkdir(parents=True, exist_ok=True)
        os.environ["DJANGO_SETTINGS_MODULE"] = "gearman_example.shop.settings"
        os.environ |= {"SHOP_DATA": str(data), "GEARMAN_SERVERS": server}
        execute_from_command_line(["manage.py", "migrate", "--verbosity=0"])
        users = get_user_model().objects
        if not users.filter(username=NAME).exists():
            users.create_superuser(NAME, password=PASSWORD)
        worker = start(stack, "gearman_worker", "--with-server", "-w", "2", "--grace-period", "5")
        website = start(stack, "runserver", site, "--noreload", stdout=subprocess.DEVNULL)
        try:
            wait_for_answer(site, website)
            print(f"\nOpen http://{site}/ in a browser. Press CONTROL-C to stop.")
            print(
                f"The admin is at http://{site}/admin/: name {NAME}, password {PASSWORD}.",
                flush=True,
            )
            while worker.poll() is None and website.poll() is None:
                time.sleep(0.2)
        except KeyboardInterrupt:
            return None
        ended = "site" if worker.poll() is None else "worker"
    return f"the demo stopped: the {ended} has ended"


def free_address(port: int) -> str:
    """Return an address of this machine; raise OSError if the port is in use. 0 is any."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            raise OSError(f"port {port} of this machine: {error.strerror}") from error
        return "127.0.0.1:{1}".format(*listener.getsockname())


def start(stack: ExitStack, *arguments: str, stdout: int | None = None) -> subprocess.Popen[bytes]:
    """Start a command of Django, which ends with the stack. Ctrl-C reaches this process only."""
    command = [sys.executable, "-m", "django", *arguments]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout, process_group=0)
    stack.callback(end, process)
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    """Let a process finish its jobs, and wait for it."""
    process.terminate()
    try:
        process.wait(20)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        process.kill()
        process.wait()


def wait_for_answer(address: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until the process accepts connections, or has ended."""
    host, port = address.split(":")
    while process.poll() is None:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())
