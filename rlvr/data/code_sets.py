"""Public code benchmarks, read from their own columns: LiveCodeBench, HumanEval+, MBPP+.

Their rows become problems whose ground truth is the tests in the format of rewards/code.py. Nothing of a
row is ever executed: test modules are parsed for their literal inputs and results, and LiveCodeBench's
packed tests are unpickled by a reader that can make text and nothing else.

Columns: huggingface.co/datasets/livecodebench/code_generation_lite, evalplus/humanevalplus,
evalplus/mbppplus.
"""

from __future__ import annotations

import ast
import base64
import binascii
import io
import json
import pickle
import zlib
from collections.abc import Mapping
from typing import Any

from rlvr.errors import DataError
from rlvr.records import Problem
from rlvr.rewards.plain import NotPlainError, encode

LIVE_COLUMNS = frozenset({"question_content", "public_test_cases"})
EVALPLUS_COLUMNS = frozenset({"task_id", "prompt", "test"})
FLOAT_TOLERANCE = 1e-6
"""EvalPlus compares floats with this tolerance where a task sets none."""
MAX_UNPACKED = 256 * 2**20
SCRIPT = "Write a Python program that reads from standard input and writes to standard output."
FUNCTION = "Write a Python function `{name}`."
FENCED = "Put the whole program into one ```python block at the end of your answer."


def is_code_row(row: Any) -> bool:
    """Whether a row has the columns of one of these sets."""
    return isinstance(row, dict) and (row.keys() >= LIVE_COLUMNS or row.keys() >= EVALPLUS_COLUMNS)


def parse_code_row(row: Mapping[str, Any], where: str) -> Problem:
    """One row of a public set as a problem.

    Raises:
        DataError: its tests cannot be read, or there are none.
    """
    try:
        problem = _livecodebench(row) if row.keys() >= LIVE_COLUMNS else _evalplus(row)
    except (
        ValueError,
        KeyError,
        TypeError,
        SyntaxError,
        NotPlainError,
        pickle.UnpicklingError,
        zlib.error,
    ) as error:
        raise DataError(
            f"the tests of the row cannot be read ({type(error).__name__}: {error})",
            where=where,
            fix="leave the row out, or write it in verl's columns with tests of your own",
        ) from error
    return problem


def _problem(source: str, index: Any, text: str, tests: Any, ability: str = "code", **extra: str) -> Problem:
    """``text`` asks for the program by itself; ``extra`` has what a prompt template puts its own words around."""
    split = "test"
    return Problem(
        id=f"{source}/{split}/{index}",
        prompt=({"role": "user", "content": f"{text.strip()}\n\n{FENCED}"},),
        data_source=source,
        ground_truth=json.dumps(tests),
        ability=ability,
        extra_info={"split": split, "index": index, **extra},
    )


# ----------------------------------------------------------------------------------- LiveCodeBench


def _livecodebench(row: Mapping[str, Any]) -> Problem:
    """Public and private tests; a ``func_name`` in the metadata makes them function calls."""
    cases = json.loads(row["public_test_cases"]) + _private_tests(row.get("private_test_cases") or "[]")
    name = json.loads(row.get("metadata") or "{}").get("func_name")
    if not cases:
        raise ValueError("no test cases")
    question = text = str(row["question_content"])
    starter = str(row.get("starter_code") or "")
    if name:
        lines = [[json.loads(line) for line in case["input"].splitlines() if line.strip()] for case in cases]
        tests: Any = {
            "entry_point": name,
            "cases": [
                {"args": args, "expected": json.loads(case["output"])}
                for args, case in zip(lines, cases, strict=True)
            ],
        }
        text += f"\n\n{FUNCTION.format(name=name)} Begin with:\n\n{starter}"
    else:
        tests = [{"stdin": case["input"], "stdout": case["output"]} for case in cases]
        text += f"\n\n{SCRIPT}"
    index = row.get("question_id", row.get("question_title", ""))
    name = "livecodebench"  # of the set, and of the verifier that judges as its own grader does
    return _problem(name, index, text, tests, name, question=question, starter_code=starter)


class _TextUnpickler(pickle.Unpickler):
    """Can rebuild text and containers, and no object of any class."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"the packed tests ask for {module}.{name}")


def _private_tests(text: str) -> list[dict[str, Any]]:
    """JSON as it is, or base64 of zlib of a pickled JSON text, as the set packs it."""
    try:
        found = json.loads(text)
    except ValueError:
        try:
            packed = base64.b64decode(text, validate=True)
        except binascii.Error as error:
            raise ValueError(f"private_test_cases: {error}") from error
        unpacked = zlib.decompressobj().decompress(packed, MAX_UNPACKED)
        found = json.loads(_TextUnpickler(io.BytesIO(unpacked)).load())
    if not isinstance(found, list):
        raise TypeError("private_test_cases is not a list")
    return found


# --------------------------------------------------------------------------------- HumanEval+, MBPP+


def _evalplus(row: Mapping[str, Any]) -> Problem:
    """Literal ``inputs`` and ``results`` of the row's test module."""
    tree = ast.parse(row["test"])
    inputs, results = _assigned(tree, "inputs"), _assigned(tree, "results")
    if not inputs or len(inputs) != len(results):
        raise ValueError(f"{len(inputs)} inputs and {len(results)} results")
    name = row.get("entry_point") or _called(tree)
    if not name:
        raise ValueError("the tests call no function")
    floats = any(_has_float(result) for result in results)
    tests = {
        "entry_point": name,
        "tolerance": max(_tolerance(tree), FLOAT_TOLERANCE if floats else 0.0),
        "cases": [
            {"args": [encode(word) for word in args], "expected": encode(result)}
            for args, result in zip(inputs, results, strict=True)
        ],
    }
    source = "humanevalplus" if "entry_point" in row else "mbppplus"
    text = f"{row['prompt']}\n\n{FUNCTION.format(name=name)}"
    index = str(row["task_id"]).rpartition("/")[2]
    return _problem(source, index, text, tests, question=str(row["prompt"]).strip())


def _assigned(tree: ast.AST, name: str) -> list[Any]:
    """The literal list that is assigned to ``name`` anywhere."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and any(
            isinstance(t, ast.Name) and t.id == name for t in node.targets
        ):
            value = literal(node.value)
            if not isinstance(value, list):
                raise TypeError(f"{name} is not a list")
            return value
    raise KeyError(name)


def literal(node: ast.expr) -> Any:
    """A literal, with ``inf`` and ``nan`` as numbers and ``set()`` as the empty set."""
    match node:
        case ast.Name(id="inf" | "nan" as word):
            return float(word)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Name(id="inf")):
            return float("-inf")
        case ast.Call(func=ast.Name(id="set"), args=[], keywords=[]):
            return set()
        case ast.List(elts=items):
            return [literal(item) for item in items]
        case ast.Tuple(elts=items):
            return tuple(literal(item) for item in items)
        case ast.Set(elts=items):
            return {literal(item) for item in items}
        case ast.Dict(keys=keys, values=values) if None not in keys:
            return {literal(k): literal(v) for k, v in zip(keys, values, strict=True) if k is not None}
    return ast.literal_eval(node)


def _called(tree: ast.AST) -> str | None:
    """The function that the assertions call with ``*inp``."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and any(isinstance(argument, ast.Starred) for argument in node.args)
            and node.func.id not in ("candidate", "zip")
        ):
            return node.func.id
    return None


def _tolerance(tree: ast.AST) -> float:
    """The third argument of the ``assertion`` calls."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "assertion":
            last = node.args[-1] if len(node.args) == 3 else None
            if isinstance(last, ast.Constant) and isinstance(last.value, (int, float)):
                return float(last.value)
    return 0.0


def _has_float(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(_has_float(item) for item in value)
    return isinstance(value, float)
