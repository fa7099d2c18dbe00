"""The command `python -m django_gearman.jobserver`: the job server without a Django project."""

from __future__ import annotations

import argparse
import logging
import sys

from .arguments import add_arguments, parse_options
from .serving import CannotServe, run


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m django_gearman.jobserver", description="Run a Gearman job server."
    )
    add_arguments(parser)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    try:
        run(parse_options(vars(parser.parse_args())), lambda line: print(line, flush=True))
    except CannotServe as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
