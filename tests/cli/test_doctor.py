"""What doctor reports, without importing the engines."""

from __future__ import annotations

import json
from importlib import metadata

import pytest

from rlvr.cli import doctor
from rlvr.cli.doctor import Finding


@pytest.fixture(autouse=True)
def few_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "CHECKS", (doctor.python, doctor.gpus))
    monkeypatch.setattr(doctor, "ENGINES", (("json", "json", "files"),))


def test_all_is_there(rlvr) -> None:
    result = rlvr("doctor")
    assert result.code == 0
    assert all(line.startswith("ok ") for line in result.out.splitlines())


def test_a_program_can_read_it(rlvr) -> None:
    report = json.loads(rlvr("doctor", "--json").out)
    assert [finding["name"] for finding in report["findings"]] == ["python", "gpus", "json"]
    assert report["versions"]["rlvr"]


def test_what_is_missing_comes_with_its_cure(rlvr, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "CHECKS", (lambda: Finding("disk", False, "1 GiB", "more"),))
    monkeypatch.setattr(doctor, "ENGINES", (("nothing", "no_such_module", "rollouts"),))
    result = rlvr("doctor")
    assert result.code == 1
    assert "MISSING disk" in result.out
    assert "fix: more" in result.out
    assert "MISSING nothing" in result.out
    assert "make setup" in result.out


def test_the_fault_of_one_engine_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: str) -> None:
        raise OSError("libcuda.so.1: cannot open\nand more")

    monkeypatch.setattr(doctor.importlib, "import_module", broken)
    found = doctor.engine("vllm", "vllm", "rollouts")
    assert not found.ok
    assert found.detail == "rollouts: libcuda.so.1: cannot open"


def test_a_package_that_does_not_state_its_version_is_asked_through_its_metadata() -> None:
    import rich

    assert not hasattr(rich, "__version__")
    assert doctor.engine("rich", "rich", "tables").detail == f"{metadata.version('rich')}  tables"
