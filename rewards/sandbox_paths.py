"""What a program may read, and bubblewrap's command line, which shows it nothing else."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import sysconfig
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from rlvr.errors import ConfigError

SYSTEM_LIBRARIES = (
    "/usr/lib",
    "/usr/lib64",
    "/lib",
    "/lib64",
    "/usr/local/lib",
    "/usr/share/zoneinfo",
    "/etc/ld.so.cache",
)


@lru_cache(maxsize=1)
def interpreter() -> str:
    """The interpreter behind a virtual environment: the jail uses none of its packages by default."""
    return str(Path(sys.executable).resolve())


@lru_cache(maxsize=1)
def import_root() -> Path:
    """Where ``rlvr`` is imported from."""
    import rlvr

    return Path(rlvr.__file__).resolve().parent.parent


@lru_cache(maxsize=8)
def readable_paths(packages: tuple[str, ...]) -> tuple[list[str], list[str], list[str]]:
    """Files that a program may read, folders that it may list, and its import path beside the library.

    Raises:
        ConfigError: a package is not installed.
    """
    readable = [path for path in SYSTEM_LIBRARIES if Path(path).exists()]
    readable += [str(Path(sysconfig.get_path(name)).resolve()) for name in ("stdlib", "platstdlib")]
    readable += [str(Path(sys.base_prefix).resolve() / "lib")]
    folders = []
    for package in packages:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise ConfigError(
                f"package {package!r} is not installed",
                where="rewards.sandbox.packages",
                fix=f"install it, or leave it out: rewards.sandbox.packages={[p for p in packages if p != package]}",
            )
        place = Path(spec.origin).parent if spec.submodule_search_locations else Path(spec.origin)
        folders.append(str(place.parent))
        readable += [str(place), *(str(path) for path in [place.parent / f"{package}.libs"] if path.exists())]
    unique = list(dict.fromkeys(readable))
    inner = [p for p in unique if any(p != q and Path(p).is_relative_to(q) for q in unique)]
    return [path for path in unique if path not in inner], sorted(set(folders)), sorted(set(folders))


JAIL_MODULES = ("__init__", "jail", "jail_kernel", "jail_program", "plain")
"""All of this package that is needed inside; the rest, and data beside it, stay out of sight."""


def bubblewrap(readable: list[str], disk_mib: int, environment: Mapping[str, str]) -> list[str]:
    """The ``bwrap`` command line in front of the interpreter.

    Raises:
        FileNotFoundError: the tool is not installed.
    """
    tool = shutil.which("bwrap")
    if tool is None:
        raise FileNotFoundError("the tool bwrap is not installed: apt-get install bubblewrap")
    own = [import_root() / "rlvr" / "__init__.py"]
    own += [import_root() / "rlvr" / "rewards" / f"{name}.py" for name in JAIL_MODULES]
    binds = [word for path in [*readable, interpreter()] for word in ("--ro-bind", path, path)]
    binds += [word for path in own for word in ("--ro-bind", str(path.resolve()), str(path))]
    devices = [
        word
        for name in ("null", "zero", "urandom", "random")
        for word in ("--dev-bind", f"/dev/{name}", f"/dev/{name}")
    ]
    return [
        tool, "--unshare-all", "--die-with-parent", "--new-session", "--clearenv",
        *(word for name, value in environment.items() for word in ("--setenv", name, value)),
        "--size", str(disk_mib * 2**20), "--tmpfs", "/tmp", *binds, *devices, "--chdir", "/tmp", "--",
    ]  # fmt: skip
