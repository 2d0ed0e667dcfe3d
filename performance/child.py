"""One side of a benchmark in a process of its own, so that sides share no imports, threads or memory.

The parent calls :func:`measure`; the child is ``python -m performance.child MODULE FUNCTION IN OUT``.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TAIL_LINES = 40
"""Lines of a failed child's output that are shown."""


class SideFailedError(RuntimeError):
    """A side ended without a result; the message holds the end of its output."""


def measure(
    module: str, function: str, settings: Mapping[str, Any], environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Call ``module.function(settings)`` in a new Python process and return what it returns.

    ``settings`` reaches the function with ``spawned_at`` (``time.time()``), for start-up times,
    and ``folder``, a temporary folder.

    Raises:
        SideFailedError: the process failed.
    """
    with tempfile.TemporaryDirectory(prefix="rlvr-bench-") as name:
        folder = Path(name)
        (folder / "in.json").write_text(
            json.dumps({**settings, "folder": name, "spawned_at": time.time()}), encoding="utf-8"
        )
        arguments = [module, function, str(folder / "in.json"), str(folder / "out.json")]
        with (folder / "log").open("w") as log:
            code = subprocess.call(
                [sys.executable, "-m", "performance.child", *arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=Path(__file__).resolve().parent.parent,
                env={**os.environ, **(environment or {})},
            )
        if code or not (folder / "out.json").exists():
            tail = (folder / "log").read_text(errors="replace").splitlines()[-TAIL_LINES:]
            raise SideFailedError(f"{module}.{function} ended with code {code}:\n" + "\n".join(tail))
        result: dict[str, Any] = json.loads((folder / "out.json").read_text())
        return result


def _main() -> None:
    module, function, source, target = sys.argv[1:]
    result = getattr(importlib.import_module(module), function)(json.loads(Path(source).read_text()))
    Path(target).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    _main()
