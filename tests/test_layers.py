"""What may import what. The order of the layers is the order of this table."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import django_gearman

PACKAGE = Path(django_gearman.__file__).parent

# module: the modules of ours that it may import
LAYERS: dict[str, set[str]] = {
    "exceptions": set(),
    "text": set(),
    "interrupts": set(),
    "records": {"text"},
    "foreign": {"exceptions", "text"},
    "signals": set(),
    "instrumentation": set(),
    "supervisor.scoreboard": set(),
    "supervisor.streams": set(),
    "supervisor.forking": set(),
    "supervisor.listening": {"supervisor.forking"},
    "supervisor.process": {"supervisor.forking", "supervisor.scoreboard"},
    "supervisor.reporters": {"supervisor.forking", "supervisor.process"},
    "supervisor.reload": {"supervisor.forking", "supervisor.scoreboard", "supervisor.process"},
    "supervisor.arbiter": {
        "supervisor.forking",
        "supervisor.listening",
        "supervisor.scoreboard",
        "supervisor.process",
        "supervisor.reporters",
        "supervisor.reload",
        "supervisor.streams",
    },
    "supervisor.__init__": {
        "supervisor.arbiter",
        "supervisor.scoreboard",
        "supervisor.process",
        "supervisor.reload",
        "supervisor.streams",
    },
    "server": set(),
    "protocol": {"exceptions"},
    "jobserver.__init__": set(),
    "jobserver.state": set(),
    "jobserver.job_table": {"jobserver.state"},
    "jobserver.journal": {"records", "jobserver.state"},
    "jobserver.reader": {"exceptions", "protocol"},
    "jobserver.dispatcher": {
        "records",
        "protocol",
        "jobserver.job_table",
        "jobserver.journal",
        "jobserver.state",
    },
    "jobserver.admin": {"jobserver.dispatcher", "jobserver.state"},
    "jobserver.peer": {
        "records",
        "exceptions",
        "protocol",
        "jobserver.admin",
        "jobserver.dispatcher",
        "jobserver.job_table",
        "jobserver.reader",
        "jobserver.state",
    },
    "jobserver.server": {"records", "jobserver.dispatcher", "jobserver.peer"},
    "jobserver.serving": {"records", "jobserver.journal", "jobserver.server"},
    "jobserver.arguments": {"jobserver.serving"},
    "jobserver.__main__": {"jobserver.arguments", "jobserver.serving"},
    "sharing": set(),
    "reach": set(),
    "sockets": {"exceptions", "server"},
    "opening": {"connection", "exceptions", "reach", "server", "sockets"},
    "connection": {"exceptions", "protocol", "server", "sockets", "sharing"},
    "backends.specs": {"backends.base"},
    "backends.uniques": {"backends.base"},
    "backends.awaiting": {"backends.base", "backends.uniques", "protocol"},
    "serializers.tags": {"exceptions"},
    "serializers.refusals": {"serializers.tags"},
    "serializers.base": set(),
    "serializers.json": {
        "exceptions",
        "serializers.base",
        "serializers.refusals",
        "serializers.tags",
    },
    "serializers.pickle": {"exceptions", "serializers.base"},
    "serializers.raw": {"exceptions", "serializers.base"},
    "serializers.__init__": {
        "exceptions",
        "serializers.base",
        "serializers.json",
        "serializers.pickle",
        "serializers.raw",
    },
    "remote_error": set(),
    "retries": {"exceptions"},
    "inheritance": {"sharing"},
    "forks": {"inheritance"},
    "timelimit": {"clock", "exceptions", "forks", "interrupts"},
    "transactions": set(),
    "process_state": set(),
    "isolation": {"clock", "forks", "timelimit", "transactions"},
    "context": {"backends.base", "serializers.__init__"},
    "watch": {"backends.base"},
    "registry": {"exceptions"},
    "conf": {"exceptions", "instrumentation", "server"},
    "backends.base": {"exceptions", "server"},
    "backends.memory_server": {"exceptions", "backends.base", "backends.uniques"},
    "backends.memory": {
        "exceptions",
        "server",
        "backends.base",
        "backends.memory_server",
        "backends.specs",
    },
    "backends.real_servers": {"backends.base", "exceptions", "protocol", "reach"},
    "backends.python_gearman_bindings": {
        "backends.base",
        "connection",
        "exceptions",
        "server",
        "sharing",
        "sockets",
    },
    "backends.python_gearman_client": {
        "backends.uniques",
        "exceptions",
        "protocol",
        "backends.base",
        "backends.real_servers",
        "backends.python_gearman_bindings",
    },
    "backends.python_gearman_worker": {
        "backends.uniques",
        "exceptions",
        "protocol",
        "backends.base",
        "backends.real_servers",
        "backends.python_gearman_bindings",
    },
    "backends.python_gearman": {
        "backends.base",
        "backends.python_gearman_bindings",
        "backends.python_gearman_client",
        "backends.python_gearman_worker",
        "backends.real_servers",
        "backends.specs",
        "connection",
        "exceptions",
        "opening",
        "protocol",
        "server",
    },
    "backends.socket_options": {"connection", "opening", "server"},
    "backends.forgetting": {"connection", "exceptions", "protocol", "backends.base"},
    "backends.gearmand_submission": {"exceptions", "backends.base", "backends.real_servers"},
    "backends.gearmand_client": {
        "backends.base",
        "backends.forgetting",
        "backends.gearmand_submission",
        "backends.real_servers",
        "backends.socket_options",
        "connection",
        "exceptions",
        "protocol",
        "server",
    },
    "backends.prefetch": set(),
    "backends.gearmand_link": {
        "backends.base",
        "backends.gearmand_client",
        "backends.real_servers",
        "backends.socket_options",
        "backends.uniques",
        "connection",
        "exceptions",
        "protocol",
        "server",
    },
    "backends.gearmand_worker": {
        "backends.awaiting",
        "backends.base",
        "backends.gearmand_client",
        "backends.gearmand_link",
        "backends.prefetch",
        "backends.real_servers",
        "backends.socket_options",
        "connection",
        "exceptions",
        "protocol",
        "server",
    },
    "backends.orphan_session": {
        "backends.awaiting",
        "exceptions",
        "protocol",
        "backends.base",
        "backends.gearmand_worker",
    },
    "backends.gearmand": {
        "backends.base",
        "backends.gearmand_client",
        "backends.gearmand_worker",
        "backends.real_servers",
        "backends.socket_options",
        "backends.specs",
        "backends.uniques",
        "connection",
        "exceptions",
        "opening",
        "protocol",
        "reach",
        "server",
    },
    "fleet": {"conf", "registry"},
    "backends.__init__": {"conf", "exceptions", "instrumentation", "backends.base"},
    "calls": {"serializers.__init__"},
    "options": {"conf", "serializers.__init__", "backends.base"},
    "clock": set(),
    "deadlines": set(),
    "lookout": {
        "backends.__init__",
        "backends.base",
        "context",
        "exceptions",
        "instrumentation",
        "registry",
    },
    "described": {"backends.base", "options"},
    "request": {
        "described",
        "lookout",
        "backends.base",
        "deadlines",
        "exceptions",
        "foreign",
        "options",
        "remote_error",
        "serializers.__init__",
    },
    "delivery": {
        "lookout",
        "conf",
        "serializers.__init__",
        "backends.__init__",
        "exceptions",
        "instrumentation",
        "registry",
        "request",
        "signals",
    },
    "placement": {"backends.__init__", "conf", "exceptions", "instrumentation", "registry"},
    "preparation": {
        "placement",
        "backends.__init__",
        "backends.base",
        "conf",
        "context",
        "exceptions",
        "instrumentation",
        "options",
        "registry",
        "request",
        "serializers.__init__",
    },
    "client": {
        "preparation",
        "backends.__init__",
        "backends.base",
        "calls",
        "conf",
        "delivery",
        "exceptions",
        "instrumentation",
        "options",
        "request",
        "serializers.__init__",
    },
    "waiters": {"backends.__init__", "exceptions"},
    "jobs": {
        "waiters",
        "backends.__init__",
        "client",
        "conf",
        "deadlines",
        "exceptions",
        "instrumentation",
        "options",
        "registry",
        "request",
        "retries",
        "serializers.__init__",
    },
    "decorators": {"context", "jobs", "registry", "retries", "serializers.__init__"},
    "execution": {
        "backends.base",
        "conf",
        "context",
        "exceptions",
        "instrumentation",
        "jobs",
        "remote_error",
        "retries",
        "serializers.__init__",
        "telling",
        "isolation",
        "watch",
    },
    "telling": {"retries", "signals"},
    "functions": {"conf", "exceptions", "jobs", "serializers.__init__"},
    "worker": {
        "transactions",
        "forks",
        "backends.__init__",
        "backends.base",
        "exceptions",
        "execution",
        "functions",
        "instrumentation",
        "jobs",
        "registry",
        "signals",
        "telling",
        "watch",
    },
    "autoreload": set(),
    "health": {"supervisor.__init__"},
    "console": set(),
    "logs": {"console", "context"},
    "worker_process": {
        "process_state",
        "backends.base",
        "conf",
        "forks",
        "supervisor.__init__",
        "watch",
        "worker",
    },
    "orphans": {
        "backends.__init__",
        "backends.base",
        "backends.orphan_session",
        "exceptions",
        "execution",
        "functions",
        "jobs",
        "worker_process",
        "registry",
        "remote_error",
        "supervisor.__init__",
        "telling",
    },
    "backends.eager": {
        "server",
        "exceptions",
        "backends.base",
        "backends.specs",
        "backends.memory",
        "backends.memory_server",
        "execution",
        "functions",
        "instrumentation",
        "jobs",
        "registry",
    },
}
# Anything may use these.
EVERYWHERE = {"interrupts", "clock", "deadlines", "records", "text"}
# These sit on top: they may import anything, and nothing imports them.
TOP = ("__init__", "apps", "checks", "management", "testing")
WITHOUT_DJANGO = {
    "records",
    "text",
    "instrumentation",
    "server",
    "protocol",
    "connection",
    "backends.specs",
    "backends.uniques",
    "backends.awaiting",
    "supervisor.arbiter",
    "supervisor.scoreboard",
    "supervisor.process",
    "supervisor.reload",
    "interrupts",
    "retries",
    "sharing",
    "watch",
    "remote_error",
    "foreign",
    "deadlines",
    "backends.base",
    "backends.memory",
    "backends.memory_server",
    "backends.real_servers",
    "backends.python_gearman",
    "backends.python_gearman_bindings",
    "backends.python_gearman_client",
    "backends.python_gearman_worker",
    "backends.gearmand_client",
    "backends.gearmand_link",
    "backends.gearmand_worker",
    "backends.gearmand",
    "backends.prefetch",
    "backends.orphan_session",
}


def modules() -> dict[str, Path]:
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
        for path in PACKAGE.rglob("*.py")
    }


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def runtime_imports(tree: ast.AST) -> list[ast.Import | ast.ImportFrom]:
    """Return the imports that happen when the program runs."""
    found: list[ast.Import | ast.ImportFrom] = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found.append(node)
        elif not is_type_checking(node):
            found += runtime_imports(node)
    return found


def imported(module: str, path: Path) -> tuple[set[str], set[str]]:
    """Return the modules of ours, and the top-level packages of others, that a module imports."""
    known = modules()
    package = module.split(".")[:-1]
    ours, others = set(), set()
    for node in runtime_imports(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            others |= {alias.name.split(".")[0] for alias in node.names}
        elif not node.level:
            others.add(str(node.module).split(".")[0])
        else:
            base = package[: len(package) - node.level + 1]
            target = ".".join([*base, *(node.module.split(".") if node.module else [])])
            for alias in node.names:
                name = f"{target}.{alias.name}".strip(".")
                whole = target if target in known else f"{target}.__init__".strip(".")
                ours.add(name if name in known else whole)
    return ours, others


LOWER = [name for name in modules() if not name.startswith(TOP)]


@pytest.mark.parametrize("module", LOWER)
def test_a_module_imports_only_what_lies_below_it(module):
    assert module in LAYERS, f"{module} is new: say in this table what it may import"

    ours, _ = imported(module, modules()[module])

    others = ours - LAYERS[module] - EVERYWHERE
    assert not others, f"{module} may not import {sorted(others)}"


@pytest.mark.parametrize("module", sorted(WITHOUT_DJANGO))
def test_the_lowest_layers_know_nothing_of_django(module):
    _, others = imported(module, modules()[module])

    assert "django" not in others
    assert "django_gearman" not in others, "imports of ours are relative"


@pytest.mark.parametrize("module", sorted(modules()))
def test_loggers_are_those_whose_records_cannot_be_forged(module):
    makes_its_own = "logging.getLogger(" in modules()[module].read_text()

    # The supervisor knows nothing of ours; `logs` sees to its loggers.
    assert not makes_its_own or module in ("records", "logs") or module.startswith("supervisor.")


def test_the_table_has_no_cycle():
    seen: set[str] = set()
    waiting = dict(LAYERS)
    while waiting:
        free = [module for module, below in waiting.items() if below <= seen]
        assert free, f"these import one another: {sorted(waiting)}"
        seen |= set(free)
        waiting = {module: below for module, below in waiting.items() if module not in free}


@pytest.mark.parametrize("module", sorted(modules()))
def test_nothing_is_imported_inside_functions(module):
    tree = ast.parse(modules()[module].read_text())
    functions = [
        n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    for function in functions:
        inside = [ast.unparse(node) for node in runtime_imports(function)]
        assert not inside or module == "testing.plugin", f"{module}.{function.name}: {inside}"


def test_files_stay_small():
    lengths = {name: len(path.read_text().splitlines()) for name, path in modules().items()}

    assert not {name: length for name, length in lengths.items() if length > 350}
