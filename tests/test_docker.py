"""Images and launchers agree with the rest of the repository, as far as that shows without running them."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
DOCKER = ROOT / "docker"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def load(name: str):
    return yaml.safe_load((DOCKER / name).read_text())


def cluster(name: str):
    return yaml.safe_load((ROOT / "recipes" / "experiment" / "cluster" / f"{name}.yaml").read_text())


@pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="no hadolint for this machine"
)
def test_the_linter_has_nothing_to_say() -> None:
    command = [Path(sys.executable).with_name("hadolint"), DOCKER / "Dockerfile"]
    linted = subprocess.run(command, capture_output=True, text=True)
    assert (linted.returncode, linted.stdout) == (0, ""), linted.stdout + linted.stderr


def test_compose_builds_both_sets_from_the_one_file() -> None:
    services = load("compose.yaml")["services"]
    for service in services.values():
        build = service["build"]
        assert (DOCKER / build["context"] / build["dockerfile"]).resolve() == DOCKER / "Dockerfile"
    assert services["cuda"]["build"]["args"] == {"GPU": "1"}
    assert "args" not in services["cpu"]["build"]  # the file's own default is the CPU set
    assert re.search(r"(?m)^ARG GPU=0$", (DOCKER / "Dockerfile").read_text())


def test_the_image_installs_as_a_checkout_does_and_runs_without_privileges() -> None:
    lines = (DOCKER / "Dockerfile").read_text().splitlines()
    steps = [line for line in lines if re.match(r"[A-Z]+ ", line)]
    assert steps.index("USER 1000") < next(
        index for index, step in enumerate(steps) if "scripts/setup.sh" in step
    )
    assert not any(step.startswith("USER root") for step in steps)
    assert PROJECT["requires-python"].startswith(">=3.11")
    assert re.search(r"^FROM python:3\.1[12]", "\n".join(lines), re.MULTILINE)
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert {".git", ".venv", "runs", ".env*"} <= set(ignored)


def test_the_ray_job_is_the_cluster_that_it_names() -> None:
    spec = load("kuberay.yaml")["spec"]
    [name] = re.findall(r"cluster=(\w+)", spec["entrypoint"])
    wanted = cluster(name)["cluster"]
    [group] = spec["rayClusterSpec"]["workerGroupSpecs"]
    assert group["replicas"] == group["minReplicas"] == wanted["num_nodes"]
    [container] = group["template"]["spec"]["containers"]
    assert int(container["resources"]["limits"]["nvidia.com/gpu"]) == wanted["gpus_per_node"]
    assert int(container["resources"]["limits"]["cpu"]) == wanted["cpus_per_node"]
    assert f"ray=={spec['rayClusterSpec']['rayVersion']}" in PROJECT["dependencies"]


@pytest.mark.parametrize("script", ["docker/check.sh", "scripts/slurm.sbatch", "scripts/setup.sh"])
def test_scripts_are_sound_shell(script: str) -> None:
    path = ROOT / script
    assert path.stat().st_mode & 0o111
    subprocess.run(["bash", "-n", str(path)], check=True)


def test_slurm_without_a_command_says_how(tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", str(ROOT / "scripts" / "slurm.sbatch")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "usage: sbatch" in done.stderr
