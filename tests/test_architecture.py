"""The floors: what may import what, read from the imports themselves."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rlvr import run_folder
from rlvr.algorithms.registry import ALGORITHMS

PACKAGE = Path(__file__).resolve().parent.parent / "rlvr"

FLOORS = (
    ("", "budgets", "errors", "files", "openmp", "records", "seeds", "signals", "still_images"),
    ("batch", "run_folder", "user_code"),
    ("protocols",),
    ("algorithms", "rewards"),
    ("config", "provenance"),
    ("checkpoint", "collect", "data", "guards", "learner", "rollout", "tracking"),
    ("eval",),
    ("distill", "driver", "pending", "pretrain"),
    ("ahead", "in_flight"),
    ("cluster",),
    ("planning",),
    ("workflows",),
    ("cli",),
)
"""From the ground up; a unit imports from lower floors and from itself. ``""`` is rlvr/__init__.py."""
HEIGHT = {unit: height for height, units in enumerate(FLOORS) for unit in units}

HOMES = {
    "ray": "cluster",
    "vllm": "rollout",
    "openai": "rollout",
    "deepspeed": "learner",
    "hydra": "cli",
    "omegaconf": "cli",
}
"""Heavy packages, and the only unit that may import each."""

ALGORITHM_NAMES = set(ALGORITHMS)


@dataclass(frozen=True)
class Module:
    """One source file under its import name."""

    name: str
    tree: ast.Module

    @property
    def unit(self) -> str:
        """The part of rlvr that it belongs to."""
        return unit_of(self.name)

    @property
    def imports(self) -> set[str]:
        """Everything that it imports anywhere, in functions and for type checkers too."""
        found = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{self.name}: relative import"
                found |= {f"{node.module}.{alias.name}" for alias in node.names}
        return found


def unit_of(name: str) -> str:
    """``rlvr.eval.store.Sample`` → ``eval``; a name that rlvr/__init__.py defines → ``""``."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in HEIGHT else ""


def modules() -> Iterator[Module]:
    """All modules of rlvr, the linked packages included."""
    for folder, _, files in os.walk(PACKAGE, followlinks=True):
        for file in sorted(files):
            if file.endswith(".py"):
                path = Path(folder) / file
                parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
                name = ".".join(parts).removesuffix(".__init__")
                yield Module(name, ast.parse(path.read_text(encoding="utf-8")))


MODULES = list(modules())


def climbs(module: Module) -> list[str]:
    """Imports of ``module`` that do not stand below it."""
    found = []
    for name in sorted(module.imports):
        if name.split(".")[0] == "rlvr":
            target = unit_of(name)
            if target != module.unit and HEIGHT[target] >= HEIGHT[module.unit]:
                found.append(f"{module.name} imports {name}")
    return found


def compares_with_an_algorithms_name(module: Module) -> list[str]:
    """Comparisons and cases that ask which algorithm it is."""
    found = []
    for node in ast.walk(module.tree):
        constants: list[ast.expr] = []
        if isinstance(node, ast.Compare):
            constants = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchValue):
            constants = [node.value]
        words = {
            inner.value
            for constant in constants
            for inner in ast.walk(constant)
            if isinstance(inner, ast.Constant) and isinstance(inner.value, str)
        }
        if words & ALGORITHM_NAMES:
            found.append(f"{module.name}:{getattr(node, 'lineno', '?')}")
    return found


def test_every_unit_has_a_floor() -> None:
    names = {module.name for module in MODULES}
    assert {"rlvr", "rlvr.cli.main", "rlvr.algorithms.grpo", "rlvr.eval.report.write"} <= names
    for name in names:
        assert name == "rlvr" or name.split(".")[1] in HEIGHT, name


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_a_module_imports_from_below_only(module: Module) -> None:
    assert climbs(module) == []


def test_one_module_knows_the_names_in_the_folder_of_a_run() -> None:
    names = {
        value
        for name, value in vars(run_folder).items()
        if name.endswith("_FILE") and value != run_folder.CONFIG_FILE  # which models have as well
    }
    assert {"metrics.jsonl", "trained.json", "spec.json", "summary.json"} <= names
    for module in MODULES:
        if module.name != "rlvr.run_folder":
            constants = {node.value for node in ast.walk(module.tree) if isinstance(node, ast.Constant)}
            assert not names & {each for each in constants if isinstance(each, str)}, module.name


STARTED_BELOW = ("cluster", "collect", "distill", "driver", "guards", "learner", "pretrain", "rollout")
"""What a workflow starts, and the command line only through one."""


def test_the_command_line_starts_nothing_itself() -> None:
    for module in MODULES:
        if module.unit == "cli":
            assert not {name for name in module.imports if unit_of(name) in STARTED_BELOW}, module.name


READERS = ("rlvr.eval.report.analysis", "rlvr.eval.report.responses")
"""Modules of the report that may read what lies beside samples, besides the ``read`` of a measurement."""


def test_the_evaluation_stands_without_its_report() -> None:
    for module in MODULES:
        if module.unit == "eval" and not module.name.startswith("rlvr.eval.report"):
            assert not {name for name in module.imports if name.startswith("rlvr.eval.report")}, module.name


def reads_of(tree: ast.AST) -> set[str]:
    """Functions of a module that call what reads the folder of an evaluation."""
    return {
        outer.name
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef)
        for call in ast.walk(outer)
        if isinstance(call, ast.Call)
        and (
            getattr(call.func, "id", "").startswith("read_")
            or getattr(call.func, "attr", "") in ("samples", "glob", "rglob")
        )
    }


def test_the_report_reads_the_disk_before_it_analyses() -> None:
    found = {
        module.name: reads_of(module.tree)
        for module in MODULES
        if module.name.startswith("rlvr.eval.report") and module.name not in READERS
    }
    assert {name for name, functions in found.items() if functions} == {
        "rlvr.eval.report.perplexity",
        "rlvr.eval.report.reasoning",
        "rlvr.eval.report.steps",
        "rlvr.eval.report.temperature",
    }
    assert all(functions <= {"read"} for functions in found.values()), found


@pytest.mark.parametrize(("package", "home"), HOMES.items())
def test_a_heavy_package_has_one_home(package: str, home: str) -> None:
    users = {module.name for module in MODULES if package in {name.split(".")[0] for name in module.imports}}
    assert users
    assert {unit_of(user) for user in users} == {home}


def test_settings_are_imported_from_one_place() -> None:
    inner = tuple(f"{module.name}." for module in MODULES if module.name.startswith("rlvr.config."))
    assert len(inner) > 5
    for module in MODULES:
        if module.unit != "config":
            assert [name for name in module.imports if name.startswith(inner)] == [], module.name


@pytest.mark.parametrize("unit", ["rewards", "records", "errors", "protocols"])
def test_verifiers_never_import_torch(unit: str) -> None:
    for module in MODULES:
        if module.unit == unit:
            assert not {"torch", "transformers", "numpy"} & {name.split(".")[0] for name in module.imports}


@pytest.mark.parametrize("unit", ["records", "errors"])
def test_the_ground_floor_stands_on_the_standard_library(unit: str) -> None:
    [module] = [module for module in MODULES if module.unit == unit and module.name == f"rlvr.{unit}"]
    assert {name.split(".")[0] for name in module.imports} <= sys.stdlib_module_names


@pytest.mark.parametrize(
    ("names", "absent"),
    [
        ("rlvr.rewards.registry", ("torch", "numpy", "transformers", "ray")),
        ("rlvr.cli.main", ("torch", "hydra", "ray")),  # `rlvr --help` is quick
        ("rlvr.driver, rlvr.eval.evaluate", ("ray", "vllm", "deepspeed", "hydra")),
    ],
)
def test_an_import_does_not_bring_in_what_it_must_not(names: str, absent: tuple[str, ...]) -> None:
    code = f"import sys, {names}; print(sorted(set({absent!r}) & set(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PACKAGE.parent,
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert run.stdout.strip() == "[]"


def test_no_algorithm_is_asked_its_name() -> None:
    assert [place for module in MODULES for place in compares_with_an_algorithms_name(module)] == []


def test_an_algorithms_module_is_known_to_the_registry_alone() -> None:
    own = {f"rlvr.algorithms.{name}" for name in ALGORITHM_NAMES}
    for module in MODULES:
        # Those that build on another (DAPO on GRPO) stand in the same folder.
        if module.unit != "algorithms":
            assert not {name.rpartition(".")[0] for name in module.imports} & own, module.name


@pytest.mark.parametrize(
    ("name", "source", "caught"),
    [
        ("rlvr.driver", "from rlvr.cluster import rollout_pool", True),
        ("rlvr.driver", "def f():\n    import rlvr.cli.train", True),
        ("rlvr.workflows.x", "from rlvr.cli import hydra_app", True),
        ("rlvr.cli.x", "from rlvr.workflows.train import train_model", False),
        ("rlvr.rollout.x", "from rlvr.learner.forward import Policy", True),
        ("rlvr.batch", "from rlvr import protocols", True),
        ("rlvr.driver", "from rlvr.records import Problem\nfrom rlvr import __version__", False),
        ("rlvr.eval.x", "from rlvr.eval.store import Sample", False),
    ],
)
def test_the_floors_would_be_noticed(name: str, source: str, caught: bool) -> None:
    assert bool(climbs(Module(name, ast.parse(source)))) is caught


@pytest.mark.parametrize(
    ("source", "caught"),
    [
        ('if name == "grpo": pass', True),
        ('if config.name in ("rloo", "ppo"): pass', True),
        ('match name:\n    case "dapo": pass', True),
        ('if name == "base": pass', False),
        ('styles = {"grpo": 1}', False),
    ],
)
def test_a_question_for_the_name_would_be_noticed(source: str, caught: bool) -> None:
    assert bool(compares_with_an_algorithms_name(Module("m", ast.parse(source)))) is caught


LONGEST_FILE, LONGEST_FUNCTION = 400, 60
"""Lines; of a function without its docstring."""


def sources() -> dict[str, str]:
    """Every Python file of the repository by its path; those under a link once, where they lie."""
    root = PACKAGE.parent
    found = {}
    for folder in ("rlvr", "algorithms", "eval", "rewards", "rollout", "performance", "scripts", "tests"):
        for path in sorted((root / folder).rglob("*.py")):
            if not any(each.is_symlink() for each in path.parents if each != root):
                found[str(path.relative_to(root))] = path.read_text(encoding="utf-8")
    return found


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from ``def`` to the end, without the docstring."""
    assert function.end_lineno is not None
    first = function.body[0]
    documented = ast.get_docstring(function) is not None and first.end_lineno is not None
    docstring = first.end_lineno - first.lineno + 1 if documented and first.end_lineno else 0
    return function.end_lineno - function.lineno + 1 - docstring


def test_no_file_and_no_function_is_too_long() -> None:
    found = sources()
    assert {"rlvr/driver.py", "eval/store.py", "tests/test_architecture.py"} <= set(found)
    long_files = {name: text.count("\n") for name, text in found.items()}
    assert {name: lines for name, lines in long_files.items() if lines > LONGEST_FILE} == {}
    functions = {
        f"{name}:{node.name}": length(node)
        for name, text in found.items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: lines for name, lines in functions.items() if lines > LONGEST_FUNCTION} == {}


LONGEST_CHAIN = 17
"""Modules of rlvr that are loaded one because of the other. It may become shorter; ARCHITECTURE.md says what it is made of."""


def loads(module: Module, names: set[str]) -> set[str]:
    """Modules of rlvr that importing this one loads at once: what functions import, or type checkers alone, is left out."""
    found = set()
    for node in module.tree.body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rlvr"):
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in names else str(node.module))
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in names}
    return found - {module.name, "rlvr"}


def longest_chain(graph: dict[str, set[str]]) -> list[str]:
    """The longest way through a graph without cycles."""
    chains: dict[str, list[str]] = {}

    def from_here(name: str) -> list[str]:
        if name not in chains:
            chains[name] = [
                name,
                *max((from_here(each) for each in sorted(graph[name])), key=len, default=[]),
            ]
        return chains[name]

    return max((from_here(name) for name in graph), key=len)


def test_no_chain_of_imports_is_too_long() -> None:
    names = {module.name for module in MODULES}
    chain = longest_chain({module.name: loads(module, names) for module in MODULES})
    assert len(chain) <= LONGEST_CHAIN, " → ".join(chain)


def test_the_longest_chain_is_found() -> None:
    graph = {"a": {"b", "d"}, "b": {"c"}, "c": {"d"}, "d": set(), "e": {"c"}}
    assert longest_chain(graph) == ["a", "b", "c", "d"]
