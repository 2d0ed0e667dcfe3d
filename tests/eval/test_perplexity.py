"""Perplexity: the formula, what is scored, and what the report shows."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from rlvr.errors import DataError
from rlvr.eval.loading import load_results
from rlvr.eval.perplexity import (
    OWN,
    REFERENCE,
    Perplexities,
    Text,
    perplexity,
    read_perplexities,
    read_references,
    responses_of,
    score_texts,
    scored,
    write_perplexities,
)
from rlvr.eval.report import write, write_report
from rlvr.protocols import Probe
from tests.fabricate import COUNTS, evaluation, sha, study_folder, toy_problems


def test_the_formula() -> None:
    assert perplexity([math.log(0.5), math.log(0.125)]) == pytest.approx(4.0)
    assert perplexity([0.0]) == 1.0
    assert math.isfinite(perplexity([-1e9]))


def letters(text: str) -> list[int]:
    return [ord(letter) for letter in text]


def test_every_response_is_scored_once_behind_its_own_prompt() -> None:
    seen: list[Probe] = []

    def score(probes: Sequence[Probe]) -> list[list[float]]:
        seen.extend(probes)
        # A token's log-probability is minus its code: which tokens were scored can be read off.
        return [[-float(token) for token in probe.tokens[probe.prompt_length :]] for probe in probes]

    texts = [Text(f"p{i % 2}", "ab"[: 1 + i % 2], ended=i < 70) for i in range(150)] + [
        Text("p0", "", ended=False)
    ]
    progress: list[int] = []
    found = score_texts(texts, {"p0": [7], "p1": [8, 9]}, letters, 1, score, progress.append)
    assert {key: len(values) for key, values in found.items()} == {"p0": 75, "p1": 75}
    assert list(seen[0].tokens) == [7, 97, 1]
    assert list(seen[1].tokens) == [8, 9, 97, 98, 1]
    assert list(seen[149].tokens) == [8, 9, 97, 98]  # cut off: it has no end to score
    assert found["p0"][0] == pytest.approx(math.exp((97 + 1) / 2))
    assert progress == [64, 128, 151]


def test_the_first_responses_by_index_right_or_wrong(tmp_path: Path) -> None:
    found = evaluation(tmp_path / "base", "base", COUNTS["base"], text="# 1")
    texts = responses_of(found, 3)
    assert len(texts) == 3 * 12
    assert texts[0] == Text("toy/test/0", "# 1", ended=True)


def test_median_per_problem_then_mean_over_problems() -> None:
    found = Perplexities(OWN, "base", "x", 3, {"a": [1.0, 2.0, 30.0], "b": [4.0, 4.0, 4.0], "c": [6.0]})
    assert found.medians().tolist() == [2.0, 4.0, 6.0]
    mean = found.mean()
    assert mean.estimate == 4.0
    assert 2.0 <= mean.low < 4.0 < mean.high <= 6.0
    drawn = np.random.default_rng(3).choice(found.medians(), size=(20_000, 3)).mean(axis=1)
    assert [mean.low, mean.high] == pytest.approx(np.quantile(drawn, [0.025, 0.975]).tolist(), abs=0.35)


def test_references_are_checked_by_line(tmp_path: Path) -> None:
    path = tmp_path / "solutions.jsonl"
    path.write_text(
        '{"problem": "toy/test/1", "response": "2"}\n\n{"problem": "toy/test/99", "response": "2"}\n'
    )
    with pytest.raises(DataError, match="no problem 'toy/test/99'") as error:
        read_references(path, toy_problems())
    assert str(error.value.where).endswith(":3")
    path.write_text('{"problem": "toy/test/1"}\n')
    with pytest.raises(DataError, match="not a reference response"):
        read_references(path, toy_problems())


def test_the_report_shows_who_finds_what_likely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "write_figure", lambda *_: None)
    home = study_folder(tmp_path / "study", ("base", "grpo", "grpo-step2"))
    ids = [problem.id for problem in toy_problems()]
    for name, value in (("base", 3.0), ("grpo", 1.5), ("grpo-step2", 2.0)):
        rows = [Perplexities(OWN, "base", sha("base"), 4, {key: [value] for key in ids})]
        if name == "base":
            rows.append(Perplexities(REFERENCE, "grpo", sha("grpo"), 4, {key: [9.0] for key in ids}))
        write_perplexities(home / "evaluation/toy" / name, rows)
    write_report(tmp_path / "out", load_results([home]), num_resamples=50)
    page = (tmp_path / "out/report.html").read_text()
    assert "GRPO under Base" in page
    assert "Reference under GRPO" in page
    assert 'id="figure-perplexity_steps"' in page
    assert "step = 2\nGRPO: 2 [2, 2]" in page
    assert "step = 6\nGRPO: 1.5 [1.5, 1.5]" in page  # the final model at its run's last step
    found = json.loads((tmp_path / "out/summary.json").read_text())["perplexity"]
    assert {(row["written_by"], row["scored_by"], row["mean"]) for row in found} == {
        ("base", "base", 3.0), ("grpo", "base", 1.5), ("grpo-step2", "base", 2.0), ("reference", "grpo", 9.0),
    }  # fmt: skip


def test_a_malformed_file_is_named(tmp_path: Path) -> None:
    assert read_perplexities(tmp_path) == []
    (tmp_path / "perplexity.json").write_text('[{"of": "own"}]')
    with pytest.raises(DataError, match="malformed perplexities"):
        read_perplexities(tmp_path)


def test_without_any_there_is_nothing(tmp_path: Path) -> None:
    folder = evaluation(tmp_path / "base", "base", COUNTS["base"]).folder
    assert scored([("base", read_perplexities(folder))]) == ()
