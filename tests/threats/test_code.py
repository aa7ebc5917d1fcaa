"""What the code itself never does, looked for in its syntax trees: run a shell, run data as code, read trustingly."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

from tests.test_imports import MODULES, ROOT

AS_CODE = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "pty.spawn", "subprocess.getoutput"}
"""Calls that make a program of text."""
UNTRUSTED = {"pickle", "marshal", "shelve", "dill", "yaml", "jsonpickle", "xml.dom"}
"""Modules that run what they read, or follow what it names."""
READS_XML_OF_CLIENTS = {
    "agent.messages.vm_copies": "refuses any declaration before it reads, so that there are no entities"
}
"""Modules that read XML with Python's own parser, which expands entities, and why they may."""


def calls(tree: ast.AST) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


@pytest.mark.threat("T13")
@pytest.mark.parametrize("module", MODULES)
def test_no_shell_is_run(module: str) -> None:
    tree = ast.parse(MODULES[module].read_text("utf-8"))
    shells = [node.lineno for node in calls(tree) for word in node.keywords if word.arg == "shell"]
    assert shells == [], f"{module} runs a shell"
    assert [ast.unparse(node.func) for node in calls(tree) if ast.unparse(node.func) in AS_CODE] == []


@pytest.mark.threat("T13")
def test_programs_are_run_from_lists() -> None:
    """What is run is written as a list where it is run, or comes from the plugins' folder; never as one text."""
    runners = ("subprocess.run", "subprocess.Popen", "subprocess.check_output", "subprocess.check_call")
    texts = [
        f"{module}:{node.lineno}"
        for module, path in MODULES.items()
        for node in calls(ast.parse(path.read_text("utf-8")))
        if ast.unparse(node.func) in runners
        and isinstance(node.args[0], (ast.Constant, ast.JoinedStr, ast.BinOp))
        and not (isinstance(node.args[0], ast.BinOp) and isinstance(node.args[0].left, ast.List))
    ]
    assert texts == []


@pytest.mark.threat("T27")
@pytest.mark.parametrize("module", MODULES)
def test_nothing_that_is_read_is_run(module: str) -> None:
    tree = ast.parse(MODULES[module].read_text("utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert [name for name in imported if any(name == bad or name.startswith(f"{bad}.") for bad in UNTRUSTED)] == []


@pytest.mark.threat("T4", "T27")
def test_lxml_reads_with_nothing_that_a_document_could_ask_for() -> None:
    """A parser that is made has entities and the network off. What libvirt itself wrote has no document type."""
    for module, path in MODULES.items():
        for node in calls(ast.parse(path.read_text("utf-8"))):
            called = ast.unparse(node.func)
            if called == "etree.XMLParser":
                given = {word.arg: ast.unparse(word.value) for word in node.keywords}
                assert given.get("resolve_entities") == "False", f"{module}:{node.lineno}"
                assert given.get("no_network", "True") == "True", f"{module}:{node.lineno}"
            elif called in ("etree.parse", "etree.XML"):
                raise AssertionError(f"{module}:{node.lineno} reads with lxml's default parser")
            elif called in ("ElementTree.fromstring", "ElementTree.parse", "ElementTree.XML"):
                assert module in READS_XML_OF_CLIENTS, f"{module}:{node.lineno} reads XML with Python's own parser"


@pytest.mark.threat("T27")
def test_every_dependency_is_bounded_and_says_what_it_is_for() -> None:
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    project = tomllib.loads(text)["project"]
    assert len(project["dependencies"]) <= 12, "every dependency is code that runs as root"
    for wanted in project["dependencies"]:
        assert ">=" in wanted
        [line] = [line for line in text.splitlines() if f'"{wanted}"' in line]
        assert re.search(r"#\s+\S", line), f"{wanted} has no reason"


@pytest.mark.threat("T27")
def test_no_file_of_the_tree_is_a_program_that_nobody_can_read() -> None:
    binaries = {".so", ".pyc", ".whl", ".egg", ".exe", ".dll", ".jar"}
    for package in ("agent", "drivers", "systemd"):
        found = [path for path in Path(ROOT / package).rglob("*") if path.suffix in binaries]
        assert [path for path in found if "__pycache__" not in path.parts] == []
