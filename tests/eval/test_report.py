"""The report end to end on a small study: files, schema, escaping, absent sections, wording."""

from __future__ import annotations

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlvr.errors import ConfigError
from rlvr.eval.compare import Comparison, compare
from rlvr.eval.report import BenchmarkResults, StudyResults, write_report
from rlvr.eval.report.dynamics import time_split, undrawn
from rlvr.eval.report.findings import findings
from rlvr.eval.report.html import Markup, element
from rlvr.eval.report.labels import number, percent
from rlvr.eval.report.reference import TABLE
from rlvr.eval.store import Evaluation
from tests.fabricate import COUNTS, evaluation, toy_problems

ATTACK = "</pre><script>alert('x')</script><img src=http://evil.example/x.png>"
PROBLEMS = toy_problems()


def toy_evaluation(folder: Path, name: str, correct: list[int], **changes: Any) -> Evaluation:
    return evaluation(folder / name, name, correct, text=ATTACK, **changes)


@pytest.fixture(scope="module")
def evaluations(tmp_path_factory: pytest.TempPathFactory) -> list[Evaluation]:
    folder = tmp_path_factory.mktemp("evaluations")
    return [
        toy_evaluation(folder, "base", COUNTS["base"]),
        toy_evaluation(folder, "grpo", COUNTS["grpo"]),
        toy_evaluation(folder, "my_<model>", COUNTS["ppo"]),
    ]


@pytest.fixture(scope="module")
def comparison(evaluations: list[Evaluation]) -> Comparison:
    return compare(evaluations, num_resamples=300)


METRICS = {
    "grpo": [
        {
            "step": s,
            "reward/mean": 0.1 * s,
            "reward/shaped_mean": 0.1 * s + 1e-12,
            "filter/sampling_factor": 1.0,
            "policy/entropy": float("nan"),
            "verify/error": 0.0,
            "time/step": 2.0,
            "time/rollout": 1.5,
        }
        for s in range(1, 6)
    ]
}
PROVENANCE = {
    "seed": 3,
    "date": "2026-01-05T10:00:00Z",
    "versions": {"numpy": np.__version__},
    "git_commit": "abc",
    "wall_seconds": {"train": 75.0, "evaluate": 1.5},
}


@pytest.fixture(scope="module")
def written(evaluations: list[Evaluation], tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("report")
    study = StudyResults([BenchmarkResults(evaluations, PROBLEMS)], METRICS, PROVENANCE)
    report = write_report(output, study, num_resamples=300)
    assert report.path == output / "report.html"
    return output


class Page(HTMLParser):
    """Tags with their attributes, section ids, and whether every tag was closed in order."""

    VOID = ("meta", "img", "br", "link", "input")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    @property
    def sections(self) -> list[str | None]:
        return [attributes.get("id") for tag, attributes in self.tags if tag == "section"]


def test_every_figure_has_png_svg_and_csv(written: Path) -> None:
    names = {path.stem for path in (written / "figures").iterdir()}
    assert names == {
        "pass_at_k", "paired_difference", "sampling_efficiency_gap", "coverage", "accuracy_histogram",
        "training_reward_mean", "training_time",
    }  # fmt: skip
    for name in names:
        assert (written / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (written / "figures" / f"{name}.svg").read_text()


def test_csv_holds_the_numbers_of_the_curve(written: Path, comparison: Comparison) -> None:
    with (written / "figures" / "pass_at_k.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["series"] == "GRPO"]
    np.testing.assert_allclose([float(row["pass@k"]) for row in rows], comparison.models[1].curve.estimate)
    np.testing.assert_allclose([float(row["low"]) for row in rows], comparison.models[1].curve.band_low)


def test_summary_has_the_agreed_schema(written: Path, comparison: Comparison) -> None:
    summary = json.loads((written / "summary.json").read_text())
    assert summary["k"] == [1, 2, 4, 8]
    for model in ("base", "grpo", "my_<model>"):
        for key in ("pass_at_k", "ci_low", "ci_high"):
            assert len(summary["models"][model][key]) == 4
    assert summary["models"]["base"]["pass_at_k"][0] == pytest.approx(34 / 96)
    assert summary["models"]["base"]["pass_at_k"][-1] == pytest.approx(11 / 12)
    assert summary["sampling_efficiency_gap"]["grpo"] == pytest.approx(100 * (11 / 12 - 58 / 96))
    assert summary["crossing_k"] == {"grpo": 4, "my_<model>": None}
    assert summary["coverage"]["grpo"] == {"both": 8, "base_only": 3, "rl_only": 1, "neither": 0}
    assert summary["wall_seconds"] == {"train": 75.0, "evaluate": 1.5}
    assert (summary["seed"], summary["versions"]) == (3, {"numpy": np.__version__})
    assert summary["mcnemar_p"]["grpo"] == pytest.approx(0.625)
    assert summary["provenance"] == {"git_commit": "abc"}
    assert (
        summary["paired_difference"]["grpo"]["band_low"][0]
        <= summary["paired_difference"]["grpo"]["ci_low"][0]
    )


def test_page_is_well_formed_and_has_every_section(written: Path) -> None:
    page = Page((written / "report.html").read_text())
    assert page.open == []
    assert page.sections == [
        "summary", "pass-at-k", "difference", "gap", "coverage", "accuracy", "changes", "training", "problems", "samples",
        "provenance",
    ]  # fmt: skip
    links = [
        attributes["href"] for tag, attributes in page.tags if tag == "a" and "data-problem" not in attributes
    ]
    assert links == [f"#{section}" for section in page.sections]


def test_the_page_of_the_summary_has_every_key(written: Path) -> None:
    summary = json.loads((written / "summary.json").read_text())
    table = (Path(__file__).resolve().parents[2] / "docs" / "summary.md").read_text()
    undocumented = [key for key in summary if not re.search(rf"`{key}\b", table)]
    assert undocumented == ["sampling_efficiency_gap_interval"]  # "also `…_interval`"


def test_model_output_is_text_and_nothing_else(written: Path) -> None:
    text = (written / "report.html").read_text()
    page = Page(text)
    assert ATTACK not in text
    assert "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;" in text
    assert "What is 1 + 1 &lt;b&gt;?&lt;/b&gt;" in text
    assert [tag for tag, _ in page.tags].count("script") == 2  # the code, and the problems as data
    assert not [tag for tag, _ in page.tags if tag in ("img", "b", "model")]


def test_page_loads_nothing(written: Path) -> None:
    text = (written / "report.html").read_text()
    for tag, attributes in Page(text).tags:
        assert not {"src", "srcset", "data", "action", "xlink:href", "poster"} & set(attributes), (
            tag,
            attributes,
        )
        assert (attributes.get("href") or "#").startswith("#")
        assert tag not in ("link", "iframe", "object", "embed", "base")
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]


def test_metrics_that_say_nothing_of_their_own_are_said_and_not_drawn(written: Path) -> None:
    text = (written / "report.html").read_text()
    assert "Zero at every step: Verifier errors." in text
    assert "The same as “Reward” at every step: Shaped reward." in text
    assert "1 at every step: Groups sampled per group kept." in text
    drawn = {path.stem for path in (written / "figures").glob("training_*.png")}
    assert drawn == {"training_reward_mean", "training_time"}


def test_metrics_are_drawn_where_one_run_tells_them_apart() -> None:
    same = [{"step": s, "reward/mean": 0.1 * s, "reward/shaped_mean": 0.1 * s} for s in (1, 2, 3)]
    other = [{**row, "reward/shaped_mean": 0.0} for row in same]
    assert undrawn({"a": same}).keys() == {"reward/shaped_mean"}
    assert undrawn({"a": same, "b": other}) == {}
    assert undrawn({"a": same[:1]}) == {}  # one step shows nothing


def test_the_time_of_a_step_has_only_what_it_waited_for_rollouts() -> None:
    """With train.max_staleness=1 the rollout lies beside learning, and the parts would be more than the whole."""
    row = {"step": 1, "time/rollout": 5.0, "time/learn": 4.0, "time/sync": 1.0, "time/step": 6.5}
    in_turn = time_split({"a": [{**row, "time/step": 10.5}]})
    ahead = time_split({"a": [{**row, "time/wait_for_rollout": 1.0}]})
    assert in_turn is not None
    assert ahead is not None
    assert [values for _, values in in_turn.rows] == [(5.0, 4.0, 1.0, 0.5)]
    assert [values for _, values in ahead.rows] == [(1.0, 4.0, 1.0, 0.5)]


def test_sections_without_data_are_absent(evaluations: list[Evaluation], tmp_path: Path) -> None:
    alone = StudyResults([BenchmarkResults(evaluations[:1])])
    report = write_report(tmp_path / "alone", alone, num_resamples=50)
    page = Page(report.path.read_text())
    assert page.sections == ["summary", "pass-at-k", "accuracy", "problems", "provenance"]
    assert {path.stem for path in (tmp_path / "alone" / "figures").iterdir()} == {
        "pass_at_k",
        "accuracy_histogram",
    }
    summary = json.loads((tmp_path / "alone" / "summary.json").read_text())
    assert summary["coverage"] == {}
    assert "steps" not in summary


def test_unlike_evaluations_are_refused(evaluations: list[Evaluation], tmp_path: Path) -> None:
    other = toy_evaluation(tmp_path, "ppo", [1] * 12, prompt_template="plain")
    with pytest.raises(ConfigError, match="prompt_template"):
        write_report(tmp_path / "report", StudyResults([BenchmarkResults([evaluations[0], other])]))
    assert not (tmp_path / "report").exists()


def test_two_models_of_one_name_are_refused(evaluations: list[Evaluation]) -> None:
    with pytest.raises(ConfigError, match="different names"):
        compare([evaluations[0], evaluations[0]], num_resamples=10)


@pytest.mark.parametrize("ks", [(2, 4), (1, 4, 2), (1, 1, 2), ()])
def test_odd_grids_are_refused(evaluations: list[Evaluation], ks: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="ascend from 1"):
        compare(evaluations, ks=ks, num_resamples=10)


def test_words_claim_only_what_the_intervals_show(
    evaluations: list[Evaluation], comparison: Comparison
) -> None:
    found = findings(comparison, evaluations)
    first, *_, cross, coverage = found.models["grpo"]
    assert first.startswith(
        "GRPO raises pass@1 from 0.354 to 0.604 (+0.250, 95\N{NO-BREAK SPACE}% interval +0."
    )
    assert "the data cannot tell this difference from zero" in found.models["grpo"][-3]
    assert cross.startswith("The curves cross between k = 2 and 4, at about 3.5 (")
    assert "the data do not establish" in cross
    assert "8 are solved by both (at least once in n samples), 3 only by the base, 1 only by GRPO" in coverage
    assert "do not cross up to k = 8" in found.models["my_<model>"][-2]
    caveats = " ".join(found.caveats)
    for phrase in ("one training run", "draw at least 16 samples", "Blind guessing would reach 0.337"):
        assert phrase in caveats
    assert "length limit" not in caveats
    assert "without an answer" not in caveats


def test_cut_off_and_unanswered_responses_are_told_apart(tmp_path: Path) -> None:
    limit = {"sampling": {"temperature": 0.6, "top_p": 0.95, "max_tokens": 8}}
    base = toy_evaluation(tmp_path, "base", [1] * 12, cut_off=6, **limit)
    grpo = toy_evaluation(tmp_path, "grpo", [1] * 12, cut_off=2, unanswered=4, **limit)
    found = findings(compare([base, grpo], num_resamples=50), [base, grpo]).caveats
    [cut] = [line for line in found if "length limit" in line]
    assert cut.startswith("Cut off by the length limit of 8 tokens")
    assert "75\N{NO-BREAK SPACE}% of Base's responses and 25\N{NO-BREAK SPACE}% of GRPO's" in cut
    [without] = [line for line in found if "without an answer" in line]
    assert "50\N{NO-BREAK SPACE}% of GRPO's responses" in without
    assert "Base" not in without


def test_reference_table_matches_its_own_gaps() -> None:
    gaps = {row.name: round(row.gap(1), 1) for row in TABLE}
    assert (gaps["grpo"], gaps["rloo"], gaps["dapo"], gaps["remax"]) == (44.0, 41.0, 42.6, 45.3)


def test_only_markup_passes_unescaped() -> None:
    assert element("p", "<i>", Markup("<i>"), title='"') == '<p title="&quot;">&lt;i&gt;<i></p>'


def test_numbers_for_readers() -> None:
    assert number(-0.0001, signed=True) == "0.000"
    assert number(-0.25, 2) == "−0.25"
    assert [percent(share).replace("\N{NO-BREAK SPACE}", "") for share in (0, 0.001, 0.5, 0.9999, 1)] == [
        "0%", "under 1%", "50%", "over 99%", "100%",
    ]  # fmt: skip
