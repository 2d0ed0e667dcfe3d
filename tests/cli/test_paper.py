"""``rlvr paper`` on made-up studies; tests/eval/test_claims.py has the decisions themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from rlvr.cli import paper as command
from rlvr.cli.hydra_app import RECIPES
from rlvr.cli.paper import claims_file
from rlvr.errors import ConfigError
from rlvr.workflows.paper import Command, Paper, StudyOf, to_run
from tests.cli.refusing import refused
from tests.fabricate import study_folder, study_in_training

OWN: dict[str, Any] = {
    "title": "Is it so?", "source": "us",
    "studies": {
        "one": {"recipe": "tiny", "about": "a study", "minutes": 1},
        "two": {"recipe": "tiny", "overrides": ["seeds=[0,1]"], "about": "another <one>", "minutes": 2},
    },
    "claims": {
        "up": {"text": "It rises.", "paper": "Table 1", "study": "one", "benchmark": "toy", "condition": "each@1 - base@1 > 0"},
        "down": {"text": "It <falls>.", "paper": "Table 2", "study": "two", "benchmark": "toy", "condition": "base@n - each@n > 0"},
    },
    "limits": ["They are small."],
}  # fmt: skip


@pytest.fixture
def own(cwd: Path) -> str:
    (cwd / "own.yaml").write_text(yaml.safe_dump(OWN))
    return "claims=own.yaml"


@pytest.mark.parametrize("name", ["2504.13837", "2512.07783"])
def test_the_papers_claims_are_read_and_their_studies_are_recipes(rlvr, name: str) -> None:
    paper = Paper.load(claims_file(name))
    assert len(paper.claims) >= 12
    assert {claim.study for claim in paper.claims.values()} == set(paper.studies)
    for study in paper.studies.values():
        assert (RECIPES / "experiment" / "recipe" / f"{study.recipe}.yaml").is_file() or study.commands, study
    for study in paper.studies.values():
        for words in to_run(study, Path("runs/nowhere")):
            if words[0] in ("perplexity", "audit"):
                continue  # these look at their folder first
            result = rlvr(*words, "--cfg", "job")
            assert result.code == 0, (words, result.err)


def test_what_studies_share_is_made_once(tmp_path: Path) -> None:
    command = Command("pretrain output={root}/base", "../base/pretraining.json")
    one, two = (
        StudyOf(name, "a study", 1, commands=(command, Command("x={folder}", "done")))
        for name in ("one", "two")
    )
    assert to_run(one, tmp_path / "one") == [
        ["pretrain", f"output={tmp_path}/base"], [f"x={tmp_path}/one"]
    ]  # fmt: skip
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "pretraining.json").touch()
    assert to_run(two, tmp_path / "two") == [[f"x={tmp_path}/two"]]


def test_finished_studies_decide_their_claims(rlvr, cwd: Path, own: str) -> None:
    study_folder(cwd / "runs/one", ("base", "grpo"))
    study_folder(cwd / "runs/two", ("base", "grpo-seed0", "grpo-seed1"))
    result = rlvr("paper", own)
    assert result.code == 0, result.err
    assert "claims: 2; studies: 2, of which 2 are finished in runs" in result.err
    assert "report: runs/paper/report.html" in result.out
    claims = json.loads((cwd / "runs/paper/claims.json").read_text())["claims"]
    assert claims["up"]["decision"] in ("supported", "contradicted", "undecided")
    [effect] = claims["up"]["effects"]
    assert effect["difference"]["low"] <= effect["difference"]["estimate"] <= effect["difference"]["high"]
    assert (claims["up"]["num_runs"], claims["down"]["num_runs"]) == (1, 2)
    page = (cwd / "runs/paper/report.html").read_text()
    assert "It &lt;falls&gt;." in page
    assert "mean of 2 runs" in page
    assert 'href="../two/report.html"' in page
    assert (cwd / "runs/paper" / "../two").is_dir()


def test_what_is_missing_is_run_by_rlvr_study(
    rlvr, cwd: Path, own: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    study_folder(cwd / "runs/one", ("base", "grpo"))
    study_in_training(cwd / "runs/two")
    started = []

    def study(words: list[str], name: str) -> None:
        started.append(words)
        study_folder(cwd / "elsewhere", ("base", "grpo-seed0", "grpo-seed1"))
        (cwd / "runs/two").rename(cwd / "half")
        (cwd / "elsewhere").rename(cwd / "runs/two")

    monkeypatch.setattr(command, "run_command", study)
    result = rlvr("paper", own, "train.num_steps=2")
    assert result.code == 0, result.err
    assert started == [["study", "recipe=tiny", "seeds=[0,1]", "train.num_steps=2", "run.dir=runs/two"]]
    assert "to run: two, another <one>, about 2 minutes" in result.err


def test_commands_beside_the_study_run_once(
    rlvr, cwd: Path, own: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    after = [{"run": "audit {folder} 'export={folder}/to read.jsonl'", "makes": "to read.jsonl"}]
    alone = {
        "about": "no recipe",
        "minutes": 1,
        "measured_in": "inner",
        "commands": [{"run": "distill a=b", "makes": "inner/x"}],
    }
    studies = {"one": {**OWN["studies"]["one"], "commands": after}, "two": alone}
    (cwd / "own.yaml").write_text(yaml.safe_dump({**OWN, "studies": studies}))
    study_folder(cwd / "runs/one", ("base", "grpo"))
    study_folder(cwd / "runs/two/inner", ("base", "grpo"))
    started = []

    def command_run(words: list[str], name: str) -> None:
        started.append(words)
        (cwd / "runs/one/to read.jsonl" if name == "one" else cwd / "runs/two/inner/x").write_text("")

    monkeypatch.setattr(command, "run_command", command_run)
    result = rlvr("paper", own)
    assert result.code == 0, result.err
    assert started == [["audit", "runs/one", "export=runs/one/to read.jsonl"], ["distill", "a=b"]]
    assert rlvr("paper", own).code == 0
    assert len(started) == 2
    page = (cwd / "runs/paper/report.html").read_text()
    assert 'href="../two/inner/report.html"' in page


def test_the_figure_of_a_claim_stands_beside_it(rlvr, cwd: Path) -> None:
    claims = {"up": {**OWN["claims"]["up"], "figure": "pass_at_k"}}
    (cwd / "own.yaml").write_text(yaml.safe_dump({**OWN, "claims": claims}))
    study_folder(cwd / "runs/one", ("base", "grpo"))
    assert rlvr("report", "runs/one", "output=runs/one").code == 0
    assert rlvr("paper", "claims=own.yaml").code == 0
    page = (cwd / "runs/paper/report.html").read_text()
    assert "data:image/svg+xml;base64," in page


def test_a_dry_run_names_claims_and_what_is_to_run(rlvr, cwd: Path, own: str) -> None:
    study_folder(cwd / "runs/one", ("base", "grpo"))
    result = rlvr("paper", own, "only=down", "--dry-run")
    assert result.code == 0, result.err
    assert "claims: 1; studies: 1, of which 0 are finished" in result.err
    assert "base@n - each@n > 0" in result.out
    assert not (cwd / "runs/paper").exists()


def test_a_study_that_fails_ends_the_command_with_its_code(rlvr, own: str) -> None:
    result = rlvr("paper", own, "only=up", "train.num_stepz=2")
    assert result.code == 2
    assert "the study one ended with exit code 2" in result.err


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["only=upp"], ["there is no claim and no study 'upp'", "did you mean 'up'"]),
        (["recipe=tiny"], ["recipe is what the studies differ in"]),
        (["--fast"], ["unknown flag '--fast'"]),
        (["tiny"], ["one word too many: 'tiny'"]),
    ],
)
def test_mistakes_are_named(rlvr, own: str, words: list[str], found: list[str]) -> None:
    refused(rlvr("paper", own, *words), "rlvr paper: ", *found)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"claims": {"up": {**OWN["claims"]["up"], "study": "on"}}}, "there is no study 'on'"),
        ({"claims": {"up": {**OWN["claims"]["up"], "condition": "each > base"}}}, "is no condition"),
        ({"claims": {"up": {**OWN["claims"]["up"], "papr": "x"}}}, "there is no key 'papr'"),
        ({"claims": {"up": {**OWN["claims"]["up"], "condition": "each.oftn > 0.5"}}}, "did you mean 'often'"),
        ({"studies": None}, "no claims can be read"),
    ],
)
def test_a_file_of_claims_is_checked(tmp_path: Path, changes: dict[str, Any], found: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump({**OWN, **changes}))
    with pytest.raises(ConfigError, match=found):
        Paper.load(path)


def test_a_claim_about_another_benchmark_is_refused(rlvr, cwd: Path) -> None:
    study_folder(cwd / "runs/one", ("base", "grpo"))
    claims = {"up": {**OWN["claims"]["up"], "benchmark": "toi"}}
    (cwd / "own.yaml").write_text(yaml.safe_dump({**OWN, "claims": claims}))
    refused(rlvr("paper", "claims=own.yaml"), "rlvr paper: ", "has not measured toi", "did you mean 'toy'")
