"""Public sets that the study's code systems were trained on, read from their own columns: Code-R1's and DeepCoder's.

Like those of code_sets.py their rows become problems whose ground truth is the tests in the format of
rewards/code.py, and nothing of a row is executed: test programs are read for their literal inputs and results. A
row whose tests are no literals (linked lists, trees, a checker of its own) cannot be judged so, and is left out.

Columns: huggingface.co/datasets/ganler/code-r1-12k as examples/data_preprocess/coder1.py of github.com/ganler/code-r1
writes them; agentica-org/DeepCoder-Preview-Dataset as rllm/rewards/code_reward.py of
github.com/agentica-project/rllm reads them.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rlvr.data.code_sets import FENCED, FUNCTION, literal
from rlvr.errors import DataError
from rlvr.records import Problem
from rlvr.rewards.code import ABILITIES
from rlvr.rewards.plain import NotPlainError, encode

SOLUTION = "Solution"
"""The class that LeetCode's programs define; its method is called as a function would be."""
JUDGED_AS = "livecodebench"
"""Their programs rely on LeetCode's imports and class, as LiveCodeBench's do."""


class _OtherTestsError(Exception):
    """The tests are no literal inputs and results."""


def code_r1(row: Mapping[str, Any], name: str, index: int, where: str) -> Problem | None:
    """A row of Code-R1, whose messages are kept as they are; None where its tests are no literals.

    Raises:
        DataError: it has no prompt, or no tests.
    """
    try:
        stated = json.loads(row["reward_model"]["ground_truth"])
        tests = (
            _functional(stated["functional"]) if "functional" in stated else _inputs_outputs(stated, "", 0.0)
        )
        prompt = tuple({"role": m["role"], "content": m["content"]} for m in row["prompt"])
    except _OtherTestsError:
        return None
    except (KeyError, TypeError, ValueError, SyntaxError, NotPlainError) as error:
        raise _unreadable(error, where) from error
    return _problem(name, index, prompt, tests)


def deepcoder(row: Mapping[str, Any], name: str, index: int, where: str) -> Problem | None:
    """A row of one of DeepCoder's parts; None where its tests are no literals.

    Raises:
        DataError: it has no problem, or no tests.
    """
    try:
        stated = row["tests"] if not isinstance(row["tests"], str) else json.loads(row["tests"])
        text, starter = str(row["problem"]).strip(), str(row.get("starter_code") or "").strip()
        metadata = row.get("metadata") or {}
        function = (json.loads(metadata) if isinstance(metadata, str) else metadata).get("func_name") or ""
        tests = _listed(stated, function) if isinstance(stated, list) else _inputs_outputs(stated, "", 0.0)
    except _OtherTestsError:
        return None
    except (KeyError, TypeError, ValueError, SyntaxError, NotPlainError) as error:
        raise _unreadable(error, where) from error
    if starter:
        text += (
            f"\n\n{FUNCTION.format(name=function)} Begin with:\n\n{starter}" if function else f"\n\n{starter}"
        )
    return _problem(name, index, ({"role": "user", "content": f"{text}\n\n{FENCED}"},), tests)


def _problem(name: str, index: int, prompt: tuple[dict[str, str], ...], tests: Any) -> Problem:
    return Problem(
        id=f"{name}/train/{index}",
        prompt=prompt,
        data_source=name,
        ground_truth=json.dumps(tests),
        ability=JUDGED_AS,
        extra_info={"split": "train", "index": index},
    )


def _unreadable(error: Exception, where: str) -> DataError:
    return DataError(
        f"the tests of the row cannot be read ({type(error).__name__}: {error})",
        where=where,
        fix="leave the row out, or write it in verl's columns with tests of your own",
    )


def _inputs_outputs(stated: Mapping[str, Any], function: str, tolerance: float) -> Any:
    """``{"inputs": […], "outputs": […]}``, with ``fn_name`` for calls, as TACO has them.

    TACO packs the results of most functions in lists of one, and says nowhere of which. Where all results are such
    lists they are unpacked: a function that returns a list of one for every input is the rarer case.
    """
    inputs, outputs = stated["inputs"], stated["outputs"]
    if not inputs or len(inputs) != len(outputs):
        raise ValueError(f"{len(inputs)} inputs and {len(outputs)} outputs")
    function = function or str(stated.get("fn_name") or "")
    if function:
        if all(isinstance(wanted, list) and len(wanted) == 1 for wanted in outputs):
            outputs = [wanted[0] for wanted in outputs]
        return _calls(function, inputs, outputs, tolerance)
    return [
        {"stdin": _lines(given), "stdout": _lines(wanted)}
        for given, wanted in zip(inputs, outputs, strict=True)
    ]


def _listed(stated: Sequence[Mapping[str, Any]], function: str) -> Any:
    """``[{"input": …, "output": …}, …]``: PrimeIntellect's, with ``fn_name``, and LiveCodeBench's, of JSON lines."""
    function = function or str(stated[0].get("fn_name") or "") if stated else ""
    inputs, outputs = [case["input"] for case in stated], [case["output"] for case in stated]
    if function and all(isinstance(given, str) for given in inputs):
        inputs = [[json.loads(line) for line in given.splitlines() if line.strip()] for given in inputs]
        outputs = [json.loads(wanted) if isinstance(wanted, str) else wanted for wanted in outputs]
    return _inputs_outputs({"inputs": inputs, "outputs": outputs}, function, 0.0)


def _lines(text: Any) -> str:
    """Text, or a list of its lines."""
    if isinstance(text, list):
        return "\n".join(str(line) for line in text)
    if not isinstance(text, str):
        raise TypeError(f"{type(text).__name__} where text is expected")
    return text


def _calls(function: str, inputs: Sequence[Any], outputs: Sequence[Any], tolerance: float) -> dict[str, Any]:
    return {
        "entry_point": function,
        "tolerance": tolerance,
        "cases": [
            {"args": [encode(word) for word in given], "expected": encode(wanted)}
            for given, wanted in zip(inputs, outputs, strict=True)
        ],
    }


# ---------------------------------------------------------------------------------- Code-R1's test programs


def _functional(source: str) -> dict[str, Any]:
    """A test program: ``_inputs`` and ``_outputs`` of one function, or assertions about one."""
    tree = ast.parse(source)
    values = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    if "_inputs" in values:
        return _looped(tree, _value(values["_inputs"]), _value(values["_outputs"]))
    return _asserted(tree)


def _looped(tree: ast.Module, inputs: Any, outputs: Any) -> dict[str, Any]:
    """``for i, o in zip(_inputs, _outputs): assert _deep_eq(f(*i), o)``; ``o[0]`` where results are packed in lists."""
    for node in ast.walk(tree):
        match node:
            case ast.Assert(
                test=ast.Call(
                    func=ast.Name(id="_deep_eq"),
                    args=[ast.Call(func=called, args=[ast.Starred()]), wanted],
                )
            ):
                packed = isinstance(wanted, ast.Subscript)
                expected = [result[0] for result in outputs] if packed else outputs
                return _calls(_name(called), inputs, expected, DEEP_EQ_TOLERANCE)
    raise _OtherTestsError


DEEP_EQ_TOLERANCE = 1e-5
"""Of coder1.py's comparison of numbers."""


def _asserted(tree: ast.Module) -> dict[str, Any]:
    """``def check(candidate): assert candidate(nums=[1, 2]) == 3 …`` and ``check(Solution().f)``."""
    called, inputs, outputs = None, [], []
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Call(func=ast.Name(id="check"), args=[function])):
                called = _name(function)
            case ast.Assert(
                test=ast.Compare(
                    left=ast.Call(func=ast.Name(id="candidate"), args=args, keywords=named),
                    ops=[ast.Eq()],
                    comparators=[wanted],
                )
            ):
                # Names are in the order of the function's parameters, as LeetCode's examples state them.
                inputs.append([_value(word) for word in [*args, *(keyword.value for keyword in named)]])
                outputs.append(_value(wanted))
            case ast.Assert():
                raise _OtherTestsError
    if called is None or not inputs:
        raise _OtherTestsError
    return _calls(called, inputs, outputs, 0.0)


def _name(called: ast.expr) -> str:
    """``f`` of ``f`` and of ``Solution().f``."""
    match called:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=ast.Call(func=ast.Name(id=owner)), attr=name) if owner == SOLUTION:
            return name
    raise _OtherTestsError


def _value(node: ast.expr) -> Any:
    try:
        return literal(node)
    except ValueError:
        raise _OtherTestsError from None


# ------------------------------------------------------------------------------------------- fewer tests


def with_fewer_tests(problem: Problem, most: int, choice: str) -> Problem:
    """A problem with at most ``most`` of its tests, in their order.

    Args:
        problem: of programs; another is returned as it is.
        most: number of tests.
        choice: ``longest`` or ``shortest`` inputs, or the ``first`` tests.
    """
    if problem.ability not in ABILITIES:
        return problem
    stated = json.loads(problem.ground_truth)
    tests = stated if isinstance(stated, list) else stated["cases"]
    sizes = [len(test["stdin"] if "stdin" in test else json.dumps(test["args"])) for test in tests]
    # Sorting is stable: tests of equal rank stay in their order.
    ranked = sorted(range(len(tests)), key=lambda index: SIGNS[choice] * sizes[index])
    kept = [tests[index] for index in sorted(ranked[:most])]
    return replace(
        problem, ground_truth=json.dumps(kept if isinstance(stated, list) else {**stated, "cases": kept})
    )


SIGNS: Mapping[str, int] = {"longest": -1, "shortest": 1, "first": 0}
"""By word of ``data.choose_tests``: what the sizes of inputs are multiplied by, to be sorted from small to large."""
