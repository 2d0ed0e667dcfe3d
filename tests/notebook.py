"""Notebooks without Jupyter: their cells are run one after the other, and ``python -m tests.notebook FILE`` renews their outputs."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import sys
from pathlib import Path
from typing import Any


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    """In their order."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def text(lines: list[str] | str) -> str:
    """Of a cell or an output, which nbformat keeps as lines."""
    return lines if isinstance(lines, str) else "".join(lines)


def run_cells(notebook: dict[str, Any]) -> list[str]:
    """What each code cell prints, and the value of its last line where that is an expression."""
    names: dict[str, Any] = {}
    return [run_cell(text(cell["source"]), names) for cell in code_cells(notebook)]


def run_cell(source: str, names: dict[str, Any]) -> str:
    """Run one cell among the names that earlier cells have left."""
    body = ast.parse(source).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(ast.Module(body, []), "cell", "exec"), names)
        if last is not None:
            assert isinstance(last, ast.Expr)
            value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
            if value is not None:
                print(value)
    return printed.getvalue()


def outputs(notebook: dict[str, Any]) -> list[str]:
    """What the file says that each code cell has printed."""
    return ["".join(text(each["text"]) for each in cell["outputs"]) for cell in code_cells(notebook)]


def renew(path: Path) -> None:
    """Run a notebook in its own folder and write what it prints into it."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    os.chdir(path.parent)
    for number, (cell, shown) in enumerate(zip(code_cells(notebook), run_cells(notebook), strict=True), 1):
        cell["execution_count"] = number
        stream = {"name": "stdout", "output_type": "stream", "text": shown.splitlines(keepends=True)}
        cell["outputs"] = [stream] if shown else []
    Path(path.name).write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    renew(Path(sys.argv[1]))
