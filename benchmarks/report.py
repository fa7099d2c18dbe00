"""The table, and the file results.json."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

from django_gearman.testing.programs import find_gearmand

from .cases import MICROSECONDS, PER_SECOND
from .django_tasks import systems as django_tasks
from .goals import verdicts
from .names import C
from .peers import systems as peers
from .results import Figure, Results, ratio

_HEAD = ("figure", "system", "median", "least", "most", "unit", "of C")
_ROW = "{:44} {:28} {:>10} {:>10} {:>10} {:7} {:>6}"


def number(value: float) -> str:
    """Format a number with three significant digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.3f}"


def table(results: Results) -> str:
    """Return the table of all figures, the missing ones, and the goals."""
    lines = [_ROW.format(*_HEAD).rstrip(), "-" * 122]
    for title in results.titles():
        for place, figure in enumerate(results.of(title)):
            lines.append(_line(results, figure, title if place == 0 else ""))
    lines += ["", *results.notes]
    lines += ["", "Goals (ratios are medians of the rounds' own):", ""]
    lines += map(str, verdicts(results))
    return "\n".join(lines)


def _line(results: Results, figure: Figure, title: str) -> str:
    comparable = figure.unit in (MICROSECONDS, PER_SECOND) and figure.system != C
    times = ratio(figure, results.get(figure.title, C)) if comparable else None
    numbers = map(number, (figure.median, *figure.spread))
    of_c = "" if times is None else f"{times:.2f}"
    return _ROW.format(title, figure.system, *numbers, figure.unit, of_c).rstrip()


def write_json(path: Path, results: Results) -> None:
    figures = [
        {
            "figure": figure.title,
            "system": figure.system,
            "unit": figure.unit,
            "median": _short(figure.median),
            "min": _short(figure.spread[0]),
            "max": _short(figure.spread[1]),
            "rounds": [*map(_short, figure.rounds.values())],
        }
        for figure in results.figures.values()
    ]
    content = {
        "machine": machine(),
        "load before": _short(results.load),
        "rounds": results.rounds,
        "figures": figures,
        "goals": [
            {
                "case": verdict.case,
                "goal": verdict.goal,
                "measured": verdict.measured,
                "met": verdict.met,
            }
            for verdict in verdicts(results)
        ],
        "notes": results.notes,
    }
    path.write_text(json.dumps(content, indent=1) + "\n")


def _short(value: float) -> float:
    return float(f"{value:.5g}")


def machine() -> dict[str, str | int | list[str] | None]:
    """Return the properties of the machine that the figures depend on."""
    files = [*peers.REQUIREMENTS.values(), django_tasks.REQUIREMENTS]
    return {
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "django": version("Django"),
        "gearmand": _version(find_gearmand()),
        "redis": _version("redis-server"),
        "peers": sorted({line for file in files for line in _packages(file)}),
    }


def _packages(file: Path) -> list[str]:
    return [line for line in file.read_text().splitlines() if "==" in line]


def _version(program: str) -> str | None:
    if shutil.which(program) is None:
        return None
    run = subprocess.run([program, "--version"], capture_output=True, text=True)
    found = re.search(r"\d+(\.\d+)+\S*", run.stdout + run.stderr)
    return found[0] if found else None
