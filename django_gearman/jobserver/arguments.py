"""The command line of the job server."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from .serving import Options


def _number(text: str, most: int) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= most):
        raise argparse.ArgumentTypeError(f"expected a number from 0 to {most}, got {text[:60]!r}")
    return int(text)


def _port(text: str) -> int:
    return _number(text, 65535)


def _count(text: str) -> int:
    return _number(text, 10**12)


def add_arguments(
    parser: argparse.ArgumentParser, host: str = "127.0.0.1", port: int = 4730
) -> None:
    """Add the options of the job server to a parser, with this address as the default."""
    add = parser.add_argument
    add("--host", default=host, help=f"address to listen on (default: {host})")
    add("--port", type=_port, default=port, help=f"port; 0 chooses a free one (default: {port})")
    add(
        "--store",
        type=Path,
        metavar="FILE",
        help=(
            "keep background jobs in this file, so that they survive a crash; without it, "
            "jobs are in memory only"
        ),
    )
    add(
        "--max-queued",
        type=_count,
        default=0,
        metavar="N",
        help="refuse new jobs while N jobs are queued (default: no limit)",
    )
    add("--tls-cert", type=Path, metavar="FILE", help="serve with TLS, with this certificate")
    add(
        "--tls-key",
        type=Path,
        metavar="FILE",
        help="key of the certificate (default: the same file)",
    )
    add(
        "--tls-ca",
        type=Path,
        metavar="FILE",
        help="accept only clients with a certificate of this CA",
    )
    add(
        "--allow-remote",
        nargs="?",
        const="tls",
        choices=["tls", "insecure"],
        help="allow an address that other machines can reach: with TLS, or 'insecure' without",
    )


def parse_options(given: Mapping[str, Any]) -> Options:
    """Convert parsed arguments to options."""
    return Options(**{field.name: given[field.name] for field in fields(Options)})
