"""``rlvr paper`` on made-up studies; tests/eval/test_claims.py has the decisions themselves."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from rlvr.cli.hydra_app import RECIPES
from rlvr.config import PaperConfig
from rlvr.errors import ConfigError
from rlvr.workflows import paper_run
from rlvr.workflows.paper import Paper, claims_file, load_papers, only, studies_of
from rlvr.workflows.paper_plan import to_run
from tests.cli.refusing import refused
from tests.fabricate import evaluation, sha, study_folder, study_in_training

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
    asked = {claim.study for claim in paper.claims.values()}
    assert asked | {name for study in paper.studies.values() for name in study.needs} == set(paper.studies)
    for study in paper.studies.values():
        assert (RECIPES / "experiment" / "recipe" / f"{study.recipe}.yaml").is_file() or study.commands, study
    for study in paper.studies.values():
        for words in to_run(study, Path("runs/nowhere")):
            if words[0] in ("perplexity", "audit", "entropy", "report") or "rlvr_equal_entropy" in str(words):
                continue  # these look at their folder first
            result = rlvr(*words, "--cfg", "job")
            assert result.code == 0, (words, result.err)


def test_finished_studies_decide_their_claims(rlvr, cwd: Path, own: str) -> None:
    study_folder(cwd / "runs/one", ("base", "grpo"))
    study_folder(cwd / "runs/two", ("base", "grpo-seed0", "grpo-seed1"))
    assert rlvr("report", "runs/two", "output=runs/two").code == 0
    result = rlvr("paper", own)
    assert result.code == 0, result.err
    assert "claims: 2; studies: 2, of which 2 are finished in runs" in result.err
    assert "report: runs/paper/report.html" in result.out
    data = json.loads((cwd / "runs/paper/claims.json").read_text())
    claims = data["papers"]["own"]["claims"]
    assert claims["up"]["decision"] in ("supported", "contradicted", "undecided")
    [effect] = claims["up"]["effects"]
    assert effect["difference"]["low"] <= effect["difference"]["estimate"] <= effect["difference"]["high"]
    assert (claims["up"]["num_runs"], claims["down"]["num_runs"]) == (1, 2)
    page = (cwd / "runs/paper/report.html").read_text()
    assert "It &lt;falls&gt;." in page
    assert "mean of 2 runs" in page
    assert 'href="../two/report.html"' in page
    assert (cwd / "runs/paper" / "../two/report.html").is_file()
    assert (data["studies"]["one"]["report"], data["studies"]["two"]["report"]) == (
        None,
        "../two/report.html",
    )
    numbers = json.loads((cwd / "runs/two/summary.json").read_text())
    mean = numbers["mean_of_runs"]["grpo"]
    assert list(data["studies"]["two"]["measured"]["toy"]["models"]) == ["base", "grpo"]
    first, last = data["studies"]["two"]["measured"]["toy"]["models"]["grpo"]["difference"]
    assert [first[0], last[0]] == [mean["paired_difference"]["estimate"][place] for place in (0, -1)]
    tables = (cwd / "runs/paper/claims.md").read_text()
    assert f"| GRPO | {mean['pass_at_k'][0]:.3f} [" in tables
    assert f"| It <falls>. | {claims['down']['decision']} | " in tables
    assert ", mean of 2 runs | " in tables


def test_what_is_missing_is_run_by_rlvr_study(
    rlvr, cwd: Path, own: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    study_folder(cwd / "runs/one", ("base", "grpo"))
    study_in_training(cwd / "runs/two")
    started = []

    def study(words: list[str]) -> int:
        started.append(list(words))
        study_folder(cwd / "elsewhere", ("base", "grpo-seed0", "grpo-seed1"))
        (cwd / "runs/two").rename(cwd / "half")
        (cwd / "elsewhere").rename(cwd / "runs/two")
        return 0

    monkeypatch.setattr(paper_run, "call", study)
    result = rlvr("paper", own, "train.num_steps=2")
    assert result.code == 0, result.err
    assert started == [
        [
            "study",
            "recipe=tiny",
            "seeds=[0,1]",
            "train.num_steps=2",
            "run.reuse_from=runs",
            "run.dir=runs/two",
        ]
    ]
    assert "study 1 of 1: two, another <one>; about 1 min" in result.err


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

    def call(words: list[str]) -> int:
        started.append(list(words))
        (cwd / "runs/one/to read.jsonl" if words[0] == "audit" else cwd / "runs/two/inner/x").write_text("")
        return 0

    monkeypatch.setattr(paper_run, "call", call)
    result = rlvr("paper", own)
    assert result.code == 0, result.err
    assert started == [["audit", "runs/one", "export=runs/one/to read.jsonl"], ["distill", "a=b"]]
    assert rlvr("paper", own).code == 0
    assert len(started) == 2
    (cwd / "runs/two/inner/report.html").touch()
    assert rlvr("paper", own).code == 0
    page = (cwd / "runs/paper/report.html").read_text()
    assert 'href="../two/inner/report.html"' in page


def test_the_figure_of_a_claim_stands_beside_it(rlvr, cwd: Path) -> None:
    claims = {
        "up": {**OWN["claims"]["up"], "figure": "pass_at_k"},
        "out": {**OWN["claims"]["up"], "figure": "pass_at_k", "benchmark": "toy_long"},
        "none": {**OWN["claims"]["up"], "figure": "pass_at_j"},
    }
    (cwd / "own.yaml").write_text(yaml.safe_dump({**OWN, "claims": claims}))
    study_folder(cwd / "runs/one", ("base", "grpo"), ("toy", "toy_long"))
    assert rlvr("report", "runs/one", "output=runs/one").code == 0
    assert rlvr("paper", "claims=own.yaml").code == 0
    page = (cwd / "runs/paper/report.html").read_text()
    assert page.count("data:image/svg+xml;base64,") == 2
    for ending in ("svg", "png", "csv"):
        for name in ("pass_at_k", "benchmark_2_pass_at_k"):
            assert f'href="../one/figures/{name}.{ending}"' in page
            assert (cwd / f"runs/paper/../one/figures/{name}.{ending}").is_file()


def test_a_dry_run_names_claims_and_what_is_to_run(rlvr, cwd: Path, own: str) -> None:
    study_folder(cwd / "runs/one", ("base", "grpo"))
    result = rlvr("paper", own, "only=down", "--dry-run")
    assert result.code == 0, result.err
    assert "claims: 1; studies: 1, of which 0 are finished" in result.err
    assert "base@n - each@n > 0" in result.out
    # One minute was planned for the study that is done, and its training took half of it.
    assert re.search(r"two +to run +1 min", result.out)
    assert "Minutes by the manifest × 0.50" in result.out
    assert not (cwd / "runs/paper").exists()


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


OTHER: dict[str, Any] = {
    **OWN,
    "title": "Is it not?",
    "source": "them",
    "studies": {"one": OWN["studies"]["one"], "three": {"recipe": "tiny", "about": "a third", "minutes": 3}},
    "claims": {
        "up": OWN["claims"]["up"],
        "flat": {**OWN["claims"]["up"], "text": "It stays.", "study": "three"},
    },
    "tried": ["Sums of three numbers: `all` of them were solved."],
}


@pytest.fixture
def both(cwd: Path, own: str) -> str:
    (cwd / "other.yaml").write_text(yaml.safe_dump(OTHER))
    return "claims=own.yaml,other.yaml"


def test_the_page_of_what_is_there_runs_nothing(rlvr, cwd: Path, both: str) -> None:
    study_folder(cwd / "runs/one", ("base", "grpo"))
    result = rlvr("paper", both, "--page-only")
    assert result.code == 0, result.err
    assert result.out.count("not run yet") == 2
    assert (cwd / "runs/paper/report.html").is_file()
    assert (cwd / "runs/paper/claims.md").read_text().count("| not run yet |  |  |") == 2
    assert not (cwd / "runs/two").exists()


def test_without_words_it_is_about_both_papers() -> None:
    assert [paper.source for paper in load_papers(PaperConfig().claims)] == [
        "arXiv 2504.13837",
        "arXiv 2512.07783",
    ]


def test_papers_share_a_folder_a_page_and_what_they_have_in_common(
    rlvr, cwd: Path, both: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    study_folder(cwd / "runs/one", ("base", "grpo"))
    pages = []

    def call(words: list[str]) -> int:
        pages.append((cwd / "runs/paper/report.html").read_text())
        study_folder(cwd / words[-1].partition("=")[2], ("base", "grpo-seed0", "grpo-seed1"))
        return 0

    monkeypatch.setattr(paper_run, "call", call)
    result = rlvr("paper", both)
    assert result.code == 0, result.err
    assert "study 1 of 2: two" in result.err
    assert "study 2 of 2: three" in result.err
    # The page is there from the start, and tells what is still to come.
    assert [page.count("not run yet</span>") for page in pages] == [2 * 2, 2 * 1]
    assert "4 claims: " in pages[0]
    page = (cwd / "runs/paper/report.html").read_text()
    assert "Two papers in miniature" in page
    assert "<code>all</code> of them were solved" in page
    assert (
        page.index('id="limits"')
        < page.index('id="claims"')
        < page.index('id="time"')
        < page.index('id="tried"')
    )
    data = json.loads((cwd / "runs/paper/claims.json").read_text())
    assert list(data["papers"]) == ["own", "other"]
    assert list(data["studies"]) == ["one", "two", "three"]
    # Each paper's claims are a family of their own: alone, a paper has the same p values.
    assert rlvr("paper", "claims=other.yaml", "output=alone").code == 0
    alone = json.loads((cwd / "alone/claims.json").read_text())["papers"]["other"]["claims"]
    assert {name: claim["p_holm"] for name, claim in alone.items()} == {
        name: claim["p_holm"] for name, claim in data["papers"]["other"]["claims"].items()
    }


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("up", "'up' is a claim of own and of other"),
        ("flatt", "did you mean 'flat'?"),
        ("thre", "did you mean 'three'?"),
    ],
)
def test_a_name_must_mean_one_thing_in_all_papers(rlvr, both: str, name: str, found: str) -> None:
    refused(rlvr("paper", both, f"only={name}", "--dry-run"), "rlvr paper: ", found, "only")


def test_claims_are_chosen_across_papers(cwd: Path, both: str) -> None:
    papers = load_papers(["own.yaml", "other.yaml"])
    down, flat = only(papers, ["down", "flat"])
    assert (list(down.claims), list(flat.claims)) == (["down"], ["flat"])
    assert list(studies_of([down, flat])) == ["two", "three"]
    assert [paper.name for paper in only(papers, ["three"])] == ["other"]
    # A study that both have is the same study: both papers' claims about it are meant.
    assert [list(paper.claims) for paper in only(papers, ["one"])] == [["up"], ["up"]]


@pytest.mark.parametrize(
    ("changes", "names", "found"),
    [
        ({"studies": {**OTHER["studies"], "one": {**OWN["studies"]["one"], "minutes": 9}}}, "own.yaml,other.yaml", "have different studies 'one'"),
        ({}, "own.yaml,own.yaml", "own is there twice"),
        ({}, "", "no file of claims is named"),
        ({}, "2504.1383", "no claims can be read"),
    ],
)  # fmt: skip
def test_files_that_do_not_go_together_are_refused(
    rlvr, cwd: Path, own: str, changes: dict[str, Any], names: str, found: str
) -> None:
    (cwd / "other.yaml").write_text(yaml.safe_dump({**OTHER, **changes}))
    refused(rlvr("paper", f"claims={names}"), "rlvr paper: ", found)


def test_a_command_that_makes_nothing_is_no_finished_study(
    rlvr, own: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paper_run, "call", lambda words: 0)
    result = rlvr("paper", own, "only=up")
    assert result.code != 0
    assert "the study one is not finished, though its commands ended well" in result.err


def test_models_at_another_temperature_stand_beside_themselves(rlvr, cwd: Path) -> None:
    claims = {
        "helps": {**OWN["claims"]["up"], "study": "hot", "condition": "hotter@n - grpo@n > 0"},
        "up": OWN["claims"]["up"],
    }
    studies = {
        "one": OWN["studies"]["one"],
        "hot": {
            "about": "at another temperature", "minutes": 1, "sweep_of": "one", "measured_in": "measured",
            "commands": [{"run": "evaluate x", "makes": "done"}],
        },
    }  # fmt: skip
    (cwd / "own.yaml").write_text(
        yaml.safe_dump({**OWN, "claims": claims, "studies": studies}, sort_keys=False)
    )
    study_folder(cwd / "runs/one", ("base", "grpo", "ppo"))
    place = cwd / "runs/hot/measured/evaluation/toy/hotter"
    temperature: dict[str, Any] = {"sampling": {"temperature": 1.2, "top_p": 0.95}}
    evaluation(place, "hotter", [8] * 12, model_sha256=sha("grpo"), **temperature)
    (cwd / "runs/hot/done").touch()
    result = rlvr("paper", "claims=own.yaml", "only=helps")
    assert result.code == 0, result.err
    assert "studies: 2, of which 2 are finished" in result.err
    data = json.loads((cwd / "runs/paper/claims.json").read_text())["papers"]["own"]["claims"]
    [effect] = data["helps"]["effects"]
    # grpo solves 9 of these 12 problems in some of its samples, and at the other temperature all.
    assert effect["model"] == "hotter against grpo"
    assert effect["difference"]["estimate"] == pytest.approx(3 / 12)
    other = cwd / "runs/hot/measured/evaluation/toy/other"
    evaluation(other, "other", [8] * 12, **temperature)
    assert "the model 'other' is not in the report" in rlvr("paper", "claims=own.yaml").err
