"""The import rule of the house, checked on the syntax trees: who may import whom, and what else no module may do.

An offence is one line: file, line, what it does, why not. What is allowed against a rule stands here with its reason.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

ORDER = (
    ("agent",),
    ("agent.errors", "agent.roles", "agent.lanes", "agent.terminal"),
    ("agent.users", "agent.config_sources", "agent.pam", "agent.pam_child", "agent.tcp_owner"),
    ("agent.logins",),
    ("agent.config",),
    ("agent.model",),
    ("agent.classes",),
    ("agent.ports",),
    ("agent.failpoints",),
    ("agent.store",),
    (
        "agent.access",
        "agent.sessions",
        "agent.holds",
        "agent.guests",
        "agent.plugins",
        "agent.process",
        "agent.server_certificate",
    ),
    ("agent.observer", "agent.archives"),
    ("agent.call",),
    ("agent.audit",),
    ("agent.messages",),
    ("agent.rpc", "agent.http"),
    ("agent.systemd", "agent.house", "agent.reload", "agent.state_lock"),
    ("agent.cli", "agent.client", "agent.shell", "agent.manual", "agent.describe", "agent.upkeep"),
    ("agent.logs", "agent.syslog", "agent.daemon", "agent.__main__"),
)
"""A module imports only from groups to the left of its own, and from its own."""

OF_THE_AGENT_FOR_DRIVERS = ("agent.errors", "agent.classes", "agent.ports", "agent.model.types")

AT_HOME = {
    "drivers": ("drivers", "agent.daemon", "agent.upkeep"),
    "libvirt": ("drivers",),
    "libvirt_lxc": ("drivers",),
    "libvirt_qemu": ("drivers",),
    "psutil": ("drivers",),
    "pyroute2": ("drivers",),
    "aiohttp": ("agent.rpc", "agent.http"),
    "lxml": ("drivers", "agent.rpc"),
}
"""What only some modules know, and which those are."""

TYPES_ONLY = {
    (
        "agent.model.entity",
        "agent.store.store",
    ): "an entity tells its store of assignments, and the store knows entities",
    ("agent.model.types", "agent.model.entity"): "a reference leads to an entity, and an entity's fields have types",
}
"""What is imported under TYPE_CHECKING beside ``agent.classes``, by whom, and why: each is a circle of two."""

CATCH_ALL = {
    "agent.rpc.dispatch": "whatever fails in a message is logged and answered INTERNAL_ERROR",
    "agent.rpc.tasks": "whatever fails in a task becomes the task's failure",
    "agent.observer": "whatever fails in one look at the machine must not end the looking",
    "agent.lanes": "whatever fails in a job belongs to the one who waits for it",
}
"""Modules that may catch everything, and why."""

MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in ("agent", "drivers")
    for path in sorted((ROOT / package).rglob("*.py"))
}


def within(module: str, package: str) -> bool:
    """Whether `module` is `package` or in it."""
    return module == package or module.startswith(f"{package}.")


def place(module: str) -> int | None:
    """Which group of the order a module of the agent is in."""
    if module == "agent":
        return 0
    return next((n for n, group in enumerate(ORDER) if n and any(within(module, name) for name in group)), None)


class Walker(ast.NodeVisitor):
    """Collects what a module does against the rules: the line, and what it is."""

    def __init__(self, module: str) -> None:
        self.module = module
        self.found: list[tuple[int, str]] = []
        self._in_function = 0
        self._types_only = 0

    def say(self, node: ast.stmt | ast.expr | ast.excepthandler, text: str) -> None:
        self.found.append((node.lineno, text))

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._in_function += 1
        self.generic_visit(node)
        self._in_function -= 1

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.visit_FunctionDef(node)

    def visit_If(self, node: ast.If) -> None:
        self.visit(node.test)
        types_only = ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        self._types_only += types_only
        for child in node.body:
            self.visit(child)
        self._types_only -= types_only
        for child in node.orelse:
            self.visit(child)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.imported(node, alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.level:
            self.say(node, "imports relative to its own place: the whole name can be searched for")
            return
        for alias in node.names:
            whole = f"{node.module}.{alias.name}"
            self.imported(node, whole if whole in MODULES else str(node.module))

    def visit_Call(self, node: ast.Call) -> None:
        called = ast.unparse(node.func)
        if called in ("__import__", "import_module", "importlib.import_module") and self.module != "agent.__main__":
            self.say(node, f"calls {called}: only agent/__main__.py imports by name")
        if called in ("suppress", "contextlib.suppress"):
            self.caught(node, [ast.unparse(argument) for argument in node.args])
        self.generic_visit(node)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        last = node.body[-1]
        if not (isinstance(last, ast.Raise) and last.exc is None):
            caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            self.caught(node, ["BaseException" if item is None else ast.unparse(item) for item in caught])
        self.generic_visit(node)

    def caught(self, node: ast.expr | ast.excepthandler, names: list[str]) -> None:
        """It catches these and does not raise them again."""
        for name in names:
            if name in ("Exception", "BaseException") and not any(within(self.module, home) for home in CATCH_ALL):
                self.say(node, f"catches {name}: only {', '.join(CATCH_ALL)} may")

    def imported(self, node: ast.stmt, name: str) -> None:
        """It imports this module, or something of it."""
        if self._in_function:
            self.say(node, f"imports {name} inside a function")
        if self._types_only:
            if not within(name, "agent.classes") and (self.module, name) not in TYPES_ONLY:
                self.say(node, f"imports {name} under TYPE_CHECKING: only agent.classes may be")
            return
        for package, home in AT_HOME.items():
            if within(name, package) and not any(within(self.module, module) for module in home):
                self.say(node, f"imports {name}: only {', '.join(home)} may")
        if within(name, "agent"):
            self.imported_from_agent(node, name)

    def imported_from_agent(self, node: ast.stmt, name: str) -> None:
        if within(self.module, "drivers"):
            if not any(within(name, allowed) for allowed in OF_THE_AGENT_FOR_DRIVERS):
                self.say(
                    node, f"imports {name}: drivers import only {', '.join(OF_THE_AGENT_FOR_DRIVERS)} of the agent"
                )
            return
        here, there = place(self.module), place(name)
        if here is None or there is None:
            self.say(node, f"{self.module if here is None else name} has no place in the order of imports: give it one")
        elif there > here:
            self.say(node, f"imports {name}, which stands to the right of {self.module} in the order of imports")


def offences(module: str, source: str) -> list[str]:
    """What the source of a module does against the rules, a line each."""
    walker = Walker(module)
    walker.visit(ast.parse(source))
    path = MODULES.get(module)
    where = path.relative_to(ROOT) if path else module
    return [f"{where}:{line}: {text}" for line, text in walker.found]


def test_every_module_keeps_the_import_rule() -> None:
    found = [line for module, path in MODULES.items() for line in offences(module, path.read_text("utf-8"))]
    assert not found, "\n".join(["", *found])


def test_every_module_of_the_agent_has_a_place_in_the_order() -> None:
    assert [module for module in MODULES if within(module, "agent") and place(module) is None] == []


def test_every_exception_is_still_needed() -> None:
    for module, imported in TYPES_ONLY:
        source = MODULES[module].read_text("utf-8")
        assert f"from {imported} import" in source, f"{module} no longer imports {imported}: drop the exception"


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("agent.model.types", "import agent.store.store", "stands to the right"),
        ("agent.classes.vm", "from agent.messages import vm", "stands to the right"),
        ("agent.errors", "from agent import config", "stands to the right"),
        ("agent.store.store", "from agent.sessions import Sessions", "stands to the right"),
        ("agent.new", "from agent.errors import XenError", "has no place"),
        ("agent.messages.vm", "import libvirt", "imports libvirt: only drivers may"),
        ("agent.observer.domains", "from psutil import cpu_times", "imports psutil: only drivers may"),
        ("agent.messages.vm", "import aiohttp.web", "imports aiohttp.web: only agent.rpc, agent.http may"),
        ("agent.call", "from lxml import etree", "imports lxml: only drivers, agent.rpc may"),
        ("agent.observer", "import drivers", "imports drivers: only drivers, agent.daemon, agent.upkeep may"),
        ("agent.cli", "from drivers import connection", "only drivers, agent.daemon, agent.upkeep may"),
        ("drivers.domains", "from agent.store.store import Store", "drivers import only"),
        ("drivers.domains", "from agent.model.entity import Entity", "drivers import only"),
        ("agent.call", "def f():\n    import json", "imports json inside a function"),
        ("agent.call", "class C:\n    async def f(self):\n        from agent import errors", "inside a function"),
        ("agent.call", "import importlib\nimportlib.import_module('libvirt')", "imports by name"),
        ("agent.call", "__import__('libvirt')", "imports by name"),
        ("agent.call", "from .errors import XenError", "relative"),
        ("agent.model.entity", "if TYPE_CHECKING:\n    from agent.call import Call", "under TYPE_CHECKING"),
        ("agent.errors", "if typing.TYPE_CHECKING:\n    from pathlib import Path", "under TYPE_CHECKING"),
        ("agent.store.store", "try:\n    pass\nexcept Exception:\n    pass", "catches Exception"),
        ("agent.store.store", "try:\n    pass\nexcept (OSError, Exception) as e:\n    pass", "catches Exception"),
        ("agent.store.store", "try:\n    pass\nexcept:\n    pass", "catches BaseException"),
        ("agent.store.store", "with contextlib.suppress(Exception):\n    pass", "catches Exception"),
    ],
)
def test_the_walker_catches_an_offence(module: str, source: str, complaint: str) -> None:
    found = offences(module, source)
    assert len(found) == 1
    assert complaint in found[0]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("agent.store.store", "from agent.model.entity import Entity\nfrom agent.store.journal import Journal"),
        ("agent.model.entity", "if TYPE_CHECKING:\n    from agent.store.store import Store"),
        ("agent.model.messages", "if TYPE_CHECKING:\n    from agent import classes as m"),
        ("agent.daemon", "import drivers\nfrom agent.rpc.server import Server"),
        ("agent.rpc.server", "import aiohttp\nfrom agent.messages import vm"),
        ("agent.rpc.dispatch", "try:\n    pass\nexcept Exception as error:\n    print(error)"),
        ("agent.store.store", "try:\n    pass\nexcept BaseException:\n    undo()\n    raise"),
        ("drivers.domains", "import libvirt\nfrom lxml import etree\nfrom agent.classes import VM"),
        ("agent.__main__", "import_module('agent.daemon')"),
    ],
)
def test_the_walker_lets_the_lawful_pass(module: str, source: str) -> None:
    assert offences(module, source) == []


def test_an_offence_is_told_with_file_and_line() -> None:
    assert offences("agent.call", "import json\n\nimport libvirt")[0].startswith("agent/call.py:3: imports libvirt")
