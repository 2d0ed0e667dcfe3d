"""Commands run in this process, in an empty folder, with Ray out of reach."""

from __future__ import annotations

import importlib
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rlvr.cli.main import main
from tests.cli.pools import SMALL, TRAIN, Pools


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    code: int
    out: str
    err: str


Rlvr = Callable[..., Result]


@pytest.fixture(autouse=True)
def cwd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working folder; starting Ray fails the test, whatever the command does about errors."""
    import ray

    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")  # the command sets it; this puts it back
    monkeypatch.delenv("RLVR_DEBUG", raising=False)
    monkeypatch.setattr(ray, "init", lambda *_, **__: pytest.fail("the command started Ray"))
    handler = signal.getsignal(signal.SIGTERM)
    yield folder
    signal.signal(signal.SIGTERM, handler)
    assert not ray.is_initialized()


@pytest.fixture
def rlvr(capsys: pytest.CaptureFixture[str]) -> Rlvr:
    """Run ``rlvr`` with these words."""

    def run(*arguments: object) -> Result:
        capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as end:  # a shell sees no difference
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        return Result(code, *capsys.readouterr())

    return run


@pytest.fixture
def composed(monkeypatch, rlvr):
    """Compose a command's config instead of running it: ``[(checked, resolved), …]``, one per job."""

    def compose(command: str, *words: object) -> list[tuple[Any, dict[str, Any]]]:
        calls: list[tuple[Any, dict[str, Any]]] = []
        module = importlib.import_module(f"rlvr.cli.{command}")
        monkeypatch.setattr(module, "app", lambda checked, resolved: calls.append((checked, resolved)))
        result = rlvr(command, *words)
        assert result.code == 0, result.err
        return calls

    return compose


@pytest.fixture
def pools(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Pools:
    return Pools(model_folder, monkeypatch)


@pytest.fixture
def model(model_folder: Path, tmp_path: Path) -> Path:
    """A copy, which a test may damage."""
    return shutil.copytree(model_folder, tmp_path / "model")


@pytest.fixture
def train(rlvr, pools: Pools, tmp_path: Path):
    return lambda *words: rlvr(
        "train", f"model={pools.model}", f"run.dir={tmp_path}/run", *SMALL, *TRAIN, *words
    )


@pytest.fixture
def evaluate(rlvr, pools: Pools, tmp_path: Path):
    def run(model: Path, *words: str) -> Result:
        named = [] if any(word.startswith("benchmark") for word in words) else ["benchmark=chains"]
        return rlvr("evaluate", f"model={model}", f"run.dir={tmp_path}/measured", *SMALL, *named, *words)

    return run
