"""Running the program itself, in the process that is already locked in.

Nothing here decides anything: the judge compares what comes out of the pipe. A program that rewrites
``json``, ``print`` or this module changes only what it says itself.
"""

from __future__ import annotations

import atexit
import builtins
import io
import json
import os
import sys
import threading
import types
from collections.abc import Callable
from typing import Any, NoReturn

from rlvr.rewards.plain import decode, encode

FILE = "program.py"


def run(request: dict[str, Any], output: int) -> None:
    """Run the request's source as a script, or load it and make one call; write to ``output``. Never returns.

    The exit code is 0 for a program that ended normally and 1 for an uncaught exception.
    """
    call = request["call"]
    forget_the_judge(request["packages_path"])
    sys.argv = [FILE]
    sys.orig_argv[:] = [FILE]
    vars(builtins).update(
        exit=leave, quit=leave
    )  # an interpreter gets them from its site module, which is not here
    sys.stdin = io.TextIOWrapper(io.FileIO(0, closefd=False), encoding="utf-8", errors="replace")
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(io.FileIO(1, "w", closefd=False)), encoding="utf-8", errors="replace"
    )
    sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), encoding="utf-8", errors="replace")
    code = 1
    try:
        namespace = load(request["preamble"], request["source"], "__main__" if call is None else "program")
        if call is not None:
            value = function(namespace, call["entry_point"])(*[decode(word) for word in call["args"]])
            write_all(output, json.dumps(encode(value), allow_nan=False).encode())
        code = 0
    except SystemExit as end:
        # A script may leave by sys.exit; a call that never returned has no result, so this is its end too.
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        code = 0 if request["any_exit_code"] else code
    except BaseException:  # noqa: BLE001 - an uncaught exception of the program, whatever it is
        code = 1
    finally:
        finish(code & 255)


def leave(code: object = None) -> NoReturn:
    """What ``exit`` and ``quit`` do in a script."""
    raise SystemExit(code)


def load(preamble: str, source: str, name: str) -> dict[str, Any]:
    """Compile and execute a program as a module of its own."""
    module = types.ModuleType(name)
    module.__file__ = FILE
    module.__dict__["__builtins__"] = builtins
    sys.modules[name] = module
    exec(preamble, module.__dict__)  # noqa: S102 - ours
    exec(compile(source, FILE, "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - what a sandbox is for
    return module.__dict__


def function(namespace: dict[str, Any], entry_point: str) -> Callable[..., Any]:
    """The function to call: a method of the class ``Solution``, or of the module."""
    solution = namespace.get("Solution")
    if isinstance(solution, type) and hasattr(solution, entry_point):
        found = getattr(solution(), entry_point)
    else:
        found = namespace.get(entry_point)
    if not callable(found):
        raise NameError(f"the program defines no function {entry_point}")
    return found


def finish(code: int) -> None:
    """What an interpreter does at its end, then leave: threads, exit handlers, buffers."""
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
    except BaseException:  # noqa: BLE001 - for example a closed or replaced stdout
        code = code or 1
    finally:
        os._exit(code)


def write_all(descriptor: int, data: bytes) -> None:
    """Write everything to a pipe."""
    while data:
        data = data[os.write(descriptor, data) :]


def forget_the_judge(packages_path: list[str]) -> None:
    """Leave the program with the standard library and the packages it may use."""
    stdlib = [path for path in sys.path if path.startswith((sys.prefix, sys.base_prefix))]
    sys.path[:] = [path for path in stdlib if "site-packages" not in path] + packages_path
    for name in [name for name in sys.modules if name == "rlvr" or name.startswith("rlvr.")]:
        del sys.modules[name]
    sys.modules.pop("__main__", None)
    sys.path_importer_cache.clear()
