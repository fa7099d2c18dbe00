"""
How the cost of a job grows, measured as processor time, which is steadier than the clock.

    make bench GROWTH=1                                 # all curves; about four minutes
    .venv/bin/python -m benchmarks.growth payload tasks # some of them, printed only

A run of all curves writes benchmarks/growth.json, benchmarks/growth.svg, and the table in
docs/explanation/performance.md.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path

from ..page import PAGE
from ..processes import ROOT
from ..report import machine
from .curves import CASES, Curve
from .report import table, write_svg, write_table

_HERE = ROOT / "benchmarks"


def measure(names: list[str]) -> dict[str, Curve]:
    """Measure the curves of these names."""
    curves = {}
    for name in names:
        title, over, case = CASES[name]
        curve, started = Curve(title, over), time.monotonic()
        for place, _ in enumerate(case(curve), 1):
            if sys.stderr.isatty():
                print(f"{name}: {place} points", end="\033[K\r", file=sys.stderr)
        print(f"{name} took {time.monotonic() - started:.0f} s", file=sys.stderr)
        curves[name] = curve
    return curves


def main() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):  # programs that still run end on the way out
        signal.signal(number, lambda *_: sys.exit("stopped"))
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("curves", nargs="*", metavar="CURVE", help=", ".join(CASES))
    parser.add_argument("--output", type=Path, metavar="DIRECTORY", help="for growth.json and .svg")
    options = parser.parse_args()
    if unknown := set(options.curves) - CASES.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(CASES)}")
    load = os.getloadavg()[0]
    curves = measure(options.curves or [*CASES])
    print(table(curves))
    directory = options.output or (None if options.curves else _HERE)
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
        content = {
            "machine": machine(),
            "load before": load,
            "curves": {name: vars(curve) for name, curve in curves.items()},
        }
        (directory / "growth.json").write_text(json.dumps(content, indent=1) + "\n")
        write_svg(directory / "growth.svg", curves)
    if directory == _HERE and not options.curves:
        write_table(PAGE, curves, load)


if __name__ == "__main__":
    main()
