"""Temperature sweep and entropy: estimates, refusals, and the section of the report."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from rlvr.errors import ConfigError
from rlvr.eval.entropy import (
    Entropies,
    matching_temperature,
    measure,
    read_entropies,
    token_entropy,
    write_entropies,
)
from rlvr.eval.loading import load_results
from rlvr.eval.report import write, write_report
from rlvr.eval.report.analysis import analyse
from rlvr.eval.report.labels import model_styles
from rlvr.eval.report.measurement import Drawing
from rlvr.eval.report.temperature import charts
from rlvr.protocols import SampleRequest, SamplingSettings
from rlvr.records import Completion
from tests.fabricate import COUNTS, evaluation, sha, study_folder, toy_problems

SAMPLING = {"temperature": 0.6, "top_p": 0.95}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No figures: they have tests of their own."""
    monkeypatch.setattr(write, "write_figure", lambda *_: None)


def completion(logprobs: list[float]) -> Completion:
    return Completion([1], [2] * len(logprobs), logprobs, "", "stop", 0)


def test_entropy_is_pooled_over_tokens() -> None:
    assert token_entropy([completion([-1.0, -2.0, -3.0]), completion([-6.0])]) == 3.0


def test_every_problem_is_asked_for_log_probabilities_once() -> None:
    asked: list[tuple[int, int, bool]] = []

    class Engine:
        version = 0

        def process_metrics(self) -> dict[str, float]:
            return {}

        def generate(
            self, requests: Sequence[SampleRequest], settings: SamplingSettings
        ) -> Iterator[tuple[int, list[Completion]]]:
            for request in reversed(requests):  # they finish in any order
                asked.append((request.key, request.num_samples, settings.logprobs))
                yield request.key, [completion([-float(request.key)])]

    class Renderer:
        identity = "toy"
        stop_token_ids = ()

        def request(self, key: int, problem: Any, num_samples: int) -> SampleRequest:
            return SampleRequest(key, [1], num_samples)

    problems = toy_problems(3)
    found = measure(Engine(), Renderer(), problems, SamplingSettings(0.6, 8, logprobs=True), 4)
    assert found == {"toy/test/0": 0.0, "toy/test/1": 1.0, "toy/test/2": 2.0}
    assert sorted(asked) == [(0, 4, True), (1, 4, True), (2, 4, True)]


def test_the_temperature_that_matches_lies_between_the_measured_ones() -> None:
    assert matching_temperature(0.5, [0.6, 1.4, 1.0], [0.2, 1.0, 0.4]) == pytest.approx(1.0 + 0.4 / 6)
    assert matching_temperature(0.1, [0.6, 1.0], [0.2, 0.4]) is None


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return study_folder(tmp_path / "study", ("base", "grpo"))


def hot(folder: Path, name: str, temperature: float, **changes: Any) -> Path:
    """An evaluation at another temperature."""
    counts = [min(8, count + 1) for count in COUNTS[name]]
    values: dict[str, Any] = {
        "model_sha256": sha(name), "sampling": {**SAMPLING, "temperature": temperature}, **changes,
    }  # fmt: skip
    evaluation(folder, f"{name}-hot", counts, **values)
    return folder


def test_the_report_shows_every_model_at_every_temperature(study: Path, tmp_path: Path) -> None:
    sweeps = [hot(tmp_path / "hot", "grpo", 1.2), hot(tmp_path / "basehot", "base", 1.0)]
    ids = [problem.id for problem in toy_problems()]
    for folder, name, temperature, value in (
        (study / "evaluation/toy/base", "base", 0.6, 0.5),
        (study / "evaluation/toy/grpo", "grpo", 0.6, 0.2),
        (sweeps[0], "grpo", 1.2, 0.5),
    ):
        write_entropies(folder, Entropies(sha(name), temperature, 4, dict.fromkeys(ids, value)))
    write_report(tmp_path / "out", load_results([study], sweeps=sweeps), num_resamples=50)
    rows = json.loads((tmp_path / "out/summary.json").read_text())["temperature"]
    assert [(row["model"], row["temperature"], row["entropy"]) for row in rows] == [
        ("base", 0.6, 0.5), ("base", 1.0, None), ("grpo", 0.6, 0.2), ("grpo", 1.2, 0.5),
    ]  # fmt: skip
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert rows[2]["pass_at_k"] == summary["models"]["grpo"]["pass_at_k"]
    assert rows[2]["difference_to_base"] == summary["paired_difference"]["grpo"]["estimate"]
    page = (tmp_path / "out/report.html").read_text()
    assert 'id="figure-temperature_pass_at_1"' in page
    assert "temperature = 1.2\nGRPO:" in page
    assert "At temperature 1.2 the entropy of GRPO, 0.50 nats per token, is that of Base at 0.6" in page


def drawn(study: Path, *sweeps: Path) -> dict[str, tuple[tuple[float, ...], int]]:
    """What the figures show: by name in the legend its temperatures, and how many thin runs it is the mean of."""
    analysis = analyse(load_results([study], sweeps=sweeps), num_resamples=20)[0]
    styles = model_styles([each.name for each in analysis.comparison.models])
    found = [
        {each.name: (each.x, len(each.runs)) for each in chart.series}
        for chart in charts(analysis, Drawing(styles, {}))
    ]
    assert len(found) == 2
    assert found[0] == found[1]
    return found[0]


def test_the_figure_has_the_mean_of_several_seeds(tmp_path: Path) -> None:
    study = study_folder(tmp_path / "study", ("base", "grpo-seed0", "grpo-seed1", "ppo"))
    first, second = (hot(tmp_path / name, name, 1.2) for name in ("grpo-seed0", "grpo-seed1"))
    at_own = {"Base": ((0.6,), 0), "PPO": ((0.6,), 0)}
    # A mean over other runs at every temperature would be none: the run that was measured again stands for itself.
    assert drawn(study, first) == {**at_own, "GRPO, seed 0": ((0.6, 1.2), 0)}
    assert drawn(study, first, second) == {**at_own, "GRPO (mean of 2 runs)": ((0.6, 1.2), 2)}
    ppo = hot(tmp_path / "ppo", "ppo", 1.2)
    assert drawn(study, ppo)["GRPO (mean of 2 runs)"] == ((0.6,), 2)


@pytest.mark.parametrize(
    ("temperature", "changes", "message"),
    [
        (1.2, {"model_sha256": sha("other")}, "the model 'grpo-hot' is not in the report"),
        (1.2, {"verifier": "math-2"}, "verifier is math-1 against math-2"),
        (1.2, {"sampling": {"temperature": 1.2, "top_p": 1.0}}, "sampling.top_p is 0.95 against 1.0"),
        (0.6, {}, "there twice at temperature 0.6"),
    ],
)
def test_what_is_not_a_sweep_is_refused(
    study: Path, tmp_path: Path, temperature: float, changes: dict[str, Any], message: str
) -> None:
    folder = hot(tmp_path / "hot", "grpo", temperature, **changes)
    with pytest.raises(ConfigError, match=message):
        load_results([study], sweeps=[folder])


def test_entropies_survive_the_disk(tmp_path: Path) -> None:
    assert read_entropies(tmp_path) is None
    found = Entropies("x", 0.6, 4, {"a": 1.0, "b": 2.0})
    write_entropies(tmp_path, found)
    assert read_entropies(tmp_path) == found
    assert found.mean().estimate == 1.5
