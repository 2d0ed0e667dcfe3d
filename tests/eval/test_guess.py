"""The guess filter, from counts to its section of the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlvr.errors import ConfigError
from rlvr.eval.guess import guessable, refuse_other_guesses, without
from rlvr.eval.loading import load_results
from rlvr.eval.report import write, write_report
from tests.fabricate import COUNTS, evaluation, sha, study_folder

DIRECT: dict[str, Any] = {"prompt_template": "direct"}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No figures: they have tests of their own."""
    monkeypatch.setattr(write, "write_figure", lambda *_: None)


def test_what_is_hit_now_and_then_is_guessed_and_what_is_known_is_not(tmp_path: Path) -> None:
    guesses = evaluation(tmp_path / "g", "base", [0, 1, 2, 40, 1], samples=40)
    assert guessable(guesses) == ("toy/test/1", "toy/test/4")  # 1 of 40 is under 5 %, 2 of 40 are not


def test_the_rest_keeps_its_counts_and_order(tmp_path: Path) -> None:
    models = [evaluation(tmp_path / name, name, COUNTS[name]) for name in ("base", "grpo")]
    base, grpo = without(models, {"toy/test/0", "toy/test/11"})
    assert base.problem_ids == models[0].problem_ids[1:11]
    np.testing.assert_array_equal(grpo.num_correct, COUNTS["grpo"][1:11])
    assert len(base.num_samples) == 10
    with pytest.raises(ConfigError, match="would leave none of the 12 problems"):
        without(models, models[0].problem_ids)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return study_folder(tmp_path / "study", ("base", "grpo"))


def test_the_report_draws_the_curves_again(study: Path, tmp_path: Path) -> None:
    hits = [1, 0, 1, 20, *[0] * 8]
    evaluation(tmp_path / "guesses", "direct", hits, samples=40, model_sha256=sha("base"), **DIRECT)
    results = load_results([study], guesses=[tmp_path / "guesses"])
    write_report(tmp_path / "out", results, num_resamples=100)
    page = (tmp_path / "out/report.html").read_text()
    assert "2 of 12 problems it hits now and then" in page
    assert "2 problems left out" in page
    assert "<li>Without 2 problems that can be guessed, GRPO differs from the base by " in page
    found = json.loads((tmp_path / "out/summary.json").read_text())["guess_filter"]
    assert found["left_out"] == ["toy/test/0", "toy/test/2"]
    wanted = np.delete(np.array(COUNTS["grpo"]), [0, 2]).mean() / 8
    assert found["pass_at_k"]["grpo"][0] == pytest.approx(wanted)
    assert (tmp_path / "out/figures/guess_filter.csv").exists()


def test_nothing_guessed_is_said_in_a_sentence(quick: None, study: Path, tmp_path: Path) -> None:
    evaluation(tmp_path / "guesses", "direct", [0] * 12, model_sha256=sha("base"), **DIRECT)
    write_report(tmp_path / "out", load_results([study], guesses=[tmp_path / "guesses"]), num_resamples=50)
    page = (tmp_path / "out/report.html").read_text()
    assert "all remain" in page
    assert "figure-guess_filter" not in page


def test_the_place_of_the_answer_may_follow_the_prompt(tmp_path: Path) -> None:
    base = evaluation(
        tmp_path / "a", "base", COUNTS["base"], verifier="math/3(extraction=any,units=optional)"
    )
    other = {"verifier": "math/3(extraction=boxed,units=optional)", **DIRECT}
    refuse_other_guesses(base, evaluation(tmp_path / "b", "base", [0] * 12, **other))
    other["verifier"] = "math/3(extraction=boxed,units=required)"
    stricter = evaluation(tmp_path / "c", "base", [0] * 12, **other)
    with pytest.raises(ConfigError, match="verifier"):
        refuse_other_guesses(base, stricter)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({**DIRECT, "model_sha256": sha("other")}, "model_sha256"),
        (
            {**DIRECT, "model_sha256": sha("base"), "verifier": "math-2"},
            "verifier is 'math-1' against 'math-2'",
        ),
        ({"model_sha256": sha("base")}, "with the same prompt as the rest"),
        ({**DIRECT, "benchmark": "aime"}, "not in the report"),
    ],
)
def test_other_guesses_are_refused(study: Path, tmp_path: Path, changes: dict, message: str) -> None:
    evaluation(tmp_path / "guesses", "direct", [0] * 12, **changes)
    with pytest.raises(ConfigError, match=message):
        load_results([study], guesses=[tmp_path / "guesses"])
