from __future__ import annotations

import json
from dataclasses import asdict
from functools import partial
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from ...backends import backend_settings, get_backend_class, parse_servers, use_backend
from ...backends.reach import at_once
from ...exceptions import BackendError
from ...utils.text import printable, str_of
from ._output import write_line


class Command(BaseCommand):
    help = (
        "Show the functions and the workers of each job server. Exits with 1 if a server is down."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="write one JSON object instead")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            backend, servers, _ = backend_settings()
            if get_backend_class().local:
                raise CommandError(
                    f"GEARMAN_BACKEND is {backend!r}: there is no job server to ask. "
                    "Set GEARMAN_BACKEND = 'gearman'."
                )
            asks = {server: partial(self._ask, server) for server in parse_servers(servers)}
            reports = list(at_once(asks).values())
        except ImproperlyConfigured as error:
            raise CommandError(str_of(error)) from error
        if options["json"]:
            self.stdout.write(json.dumps({"servers": reports}, indent=2))
        else:
            for report in reports:
                self._print(report)
        down = [report for report in reports if report["error"]]
        if down:
            raise CommandError(printable("; ".join(report["error"] for report in down)))

    def _ask(self, server: Any) -> dict[str, Any]:
        report: dict[str, Any] = {"server": str(server), "functions": [], "workers": []}
        try:
            backend = use_backend([server])
            report["functions"] = [
                {
                    "function": row.function,
                    "queued": row.total - row.running,
                    "running": row.running,
                    "workers": row.workers,
                }
                for row in backend.functions()
            ]
            report["workers"] = [asdict(worker) for worker in backend.workers()]
            return {**report, "error": None}
        except BackendError as error:
            return {**report, "error": str(error)}

    def _print(self, report: dict[str, Any]) -> None:
        if report["error"] and not report["functions"]:
            write_line(self.stdout, f"{report['server']}: DOWN")
            return
        write_line(self.stdout, f"{report['server']}:")
        columns = ["function", "queued", "running", "workers"]
        rows = [columns, *([str(row[name]) for name in columns] for row in report["functions"])]
        rows = [[printable(function), *numbers] for function, *numbers in rows]
        width = max(len(row[0]) for row in rows)
        for function, *numbers in rows:
            write_line(self.stdout, f"  {function:{width}}" + "".join(f"{n:>9}" for n in numbers))
        for worker in report["workers"]:
            served = ", ".join(map(printable, worker["functions"]))
            client_id, address = printable(worker["client_id"]), printable(worker["address"])
            write_line(self.stdout, f"  worker {client_id} at {address}: {served}")
        if report["error"]:
            write_line(self.stdout, f"  cannot list its workers: {report['error']}")
