"""What a program may read, and bubblewrap's command line, which shows it nothing else."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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


PACKAGES = "/packages"
"""Where a program finds its packages, at the levels that have a root folder of their own."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a program may read beside its private folder."""

    shown: dict[str, str]
    """Place inside a root folder of its own → place on the host."""
    hidden: list[str]
    """Folders below ``shown``, inside, that shall be empty: packages that the program may not use."""
    readable: list[str]
    """The same for the levels that show the host's own tree: files and folders without what is hidden."""
    listable: list[str]
    """Folders of which parts are in ``readable``: importing lists them."""
    packages: dict[str, str]
    """File name → place on the host, of the packages and all that they need."""
    public: bool
    """Whether a user without rights can come to all of it: an interpreter may lie in root's home."""


@lru_cache(maxsize=8)
def surroundings(packages: tuple[str, ...]) -> Surroundings:
    """The standard library, system libraries, ``packages`` and what those need.

    Raises:
        ConfigError: a package is not installed.
    """
    base = Path(sys.base_prefix).resolve() / "lib"
    prefixes = {"base": sys.base_prefix, "platbase": sys.base_exec_prefix}  # not the virtual environment's
    stdlib = [Path(sysconfig.get_path(name, vars=prefixes)).resolve() for name in ("stdlib", "platstdlib")]
    places = [*(Path(path) for path in SYSTEM_LIBRARIES), base, *stdlib]
    roots = _outermost([place for place in dict.fromkeys(places) if place.exists()])
    real = _outermost(list(dict.fromkeys(root.resolve() for root in roots)))
    unused = {folder for place in {*real, base, *stdlib} for folder in _package_folders(place)}
    allowed = {name: str(place.resolve()) for name, place in installed(packages).items()}
    partly = sorted({str(parent) for folder in unused for parent in folder.parents if _below(parent, real)})
    readable = [path for root in real for path in _without(root, unused)]
    return Surroundings(
        shown={str(root): str(root) for root in roots} | {f"{PACKAGES}/{n}": p for n, p in allowed.items()},
        hidden=[
            str(root / folder.relative_to(root.resolve()))
            for root in roots
            for folder in unused
            if folder.is_relative_to(root.resolve())
        ],
        readable=readable + list(allowed.values()),
        listable=partly,
        packages=allowed,
        public=all(_public(Path(path)) for path in [*map(str, real), *allowed.values()]),
    )


def _outermost(paths: list[Path]) -> list[Path]:
    return [p for p in paths if not any(p != q and p.is_relative_to(q) for q in paths)]


def _below(path: Path, roots: list[Path]) -> bool:
    return any(path.is_relative_to(root) for root in roots)


def _package_folders(library: Path) -> list[Path]:
    """Where interpreters keep installed packages, below one folder of libraries."""
    names = ("site-packages", "dist-packages")
    found = [path for name in names for path in (library / name, *library.glob(f"python*/{name}"))]
    return [path.resolve() for path in found if path.is_dir()]


def _without(folder: Path, unused: set[Path]) -> list[str]:
    """``folder``, or what it consists of without ``unused``; links are left out, their targets are not."""
    if folder in unused:
        return []
    if not any(path.is_relative_to(folder) for path in unused):
        return [str(folder)]
    return [path for child in folder.iterdir() if not child.is_symlink() for path in _without(child, unused)]


def _public(path: Path) -> bool:
    return all(place.stat().st_mode & 0o005 for place in (path, *path.parents) if place.is_dir())


def installed(packages: tuple[str, ...]) -> dict[str, Path]:
    """Files and folders of ``packages`` and of the distributions that they require, by name.

    Raises:
        ConfigError: a package is not installed.
    """
    found: dict[str, Path] = {}
    waiting: list[str] = []
    for package in packages:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise ConfigError(
                f"package {package!r} is not installed",
                where="rewards.sandbox.packages",
                fix=f"install it, or leave it out: rewards.sandbox.packages={[p for p in packages if p != package]}",
            )
        place = Path(spec.origin).parent if spec.submodule_search_locations else Path(spec.origin)
        found[place.name] = place
        waiting += _distributions(package)
    seen: set[str] = set()
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in seen:
            continue
        seen.add(name)
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # required, and not there: the package does without it or says so
        tops = {file.parts[0] for file in distribution.files or []} - {"..", "__pycache__"}
        found |= {top: Path(str(distribution.locate_file(top))) for top in tops if top not in found}
        required = [Requirement(line) for line in distribution.requires or []]
        waiting += [r.name for r in required if r.marker is None or r.marker.evaluate({"extra": ""})]
    return {name: place for name, place in found.items() if place.exists()}


def _distributions(package: str) -> list[str]:
    """What installed a package: mostly a distribution of its name; asking all of them takes a second."""
    try:
        return [metadata.distribution(package).name]
    except metadata.PackageNotFoundError:
        return metadata.packages_distributions().get(package, [])


JAIL_MODULES = ("__init__", "jail", "jail_kernel", "jail_program", "plain")
"""All of this package that is needed inside; the rest, and data beside it, stay out of sight."""


def bubblewrap(around: Surroundings, disk_mib: int, environment: Mapping[str, str], info: int) -> list[str]:
    """The ``bwrap`` command line in front of the interpreter; it writes what it started to ``info``.

    Raises:
        FileNotFoundError: the tool is not installed.
    """
    tool = shutil.which("bwrap")
    if tool is None:
        raise FileNotFoundError("the tool bwrap is not installed: apt-get install bubblewrap")
    own = [import_root() / "rlvr" / "__init__.py"]
    own += [import_root() / "rlvr" / "rewards" / f"{name}.py" for name in JAIL_MODULES]
    shown = around.shown | {interpreter(): interpreter()}
    binds = [word for inside, outside in shown.items() for word in ("--ro-bind", outside, inside)]
    binds += [word for path in around.hidden for word in ("--tmpfs", path)]
    binds += [word for path in own for word in ("--ro-bind", str(path.resolve()), str(path))]
    binds += [word for path in around.hidden for word in ("--remount-ro", path)]
    devices = [
        word
        for name in ("null", "zero", "urandom", "random")
        for word in ("--dev-bind", f"/dev/{name}", f"/dev/{name}")
    ]
    return [
        tool, "--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--info-fd", str(info),
        *(word for name, value in environment.items() for word in ("--setenv", name, value)),
        "--size", str(disk_mib * 2**20), "--tmpfs", "/tmp", *binds, *devices, "--chdir", "/tmp", "--",
    ]  # fmt: skip
