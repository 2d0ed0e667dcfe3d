"""Tables for the terminal: aligned and no wider than 100 columns."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlvr.eval.compare import Comparison, compare
from rlvr.eval.tables import WIDTH, table_lines
from tests.fabricate import COUNTS, evaluation


def comparison(folder: Path, names: list[str], benchmark: str = "toy") -> Comparison:
    models = [
        evaluation(folder / benchmark / name, name, COUNTS.get(name, COUNTS["ppo"]), benchmark=benchmark)
        for name in names
    ]
    return compare(models, num_resamples=300)


def test_one_benchmark_and_few_models_over_k(tmp_path: Path) -> None:
    lines = table_lines([comparison(tmp_path, ["base", "grpo"])])
    assert lines[0].split() == ["pass@1", "pass@4", "pass@8", "cut", "off"]
    assert lines[2].startswith("base")
    assert "0.354 [" in lines[2]
    assert any(line.startswith("grpo − base") and "+0.250 [" in line for line in lines)
    assert len({len(line) for line in lines[:-1]}) == 1
    assert len(lines[0]) <= WIDTH
    assert lines[-1].startswith("12 problems × 8 samples")


def test_a_long_name_leaves_room_for_fewer_columns(tmp_path: Path) -> None:
    lines = table_lines([comparison(tmp_path, ["base", "grpo (algorithm.kl.coef_0.001)"])])
    assert lines[0].split() == ["pass@1", "pass@8", "cut", "off"]
    assert max(map(len, lines)) <= WIDTH


def test_a_lone_model(tmp_path: Path) -> None:
    lines = table_lines([comparison(tmp_path, ["base"])])
    assert len(lines) == 4


def test_responses_that_were_cut_off_have_a_column_and_a_line(tmp_path: Path) -> None:
    short = [evaluation(tmp_path / "base", "base", COUNTS["base"])]
    short.append(evaluation(tmp_path / "grpo", "grpo", [0] * 12, cut_off=7))
    found = compare(short, num_resamples=300)
    lines = table_lines([found])
    assert lines[2].endswith(" 0%")
    assert lines[3].endswith(" 88%")
    word = "Cut off by the length limit (evaluation.max_tokens), and so wrong: 88% of grpo."
    assert lines[-1].splitlines()[1] == word
    assert word in "\n".join(table_lines([found, found]))
    assert "Cut off" not in table_lines([comparison(tmp_path, ["base", "ppo"])])[-1]


def test_several_benchmarks_side_by_side(tmp_path: Path) -> None:
    names = ["base", "grpo", "ppo", "remax"]
    both = [comparison(tmp_path, names, benchmark) for benchmark in ("toy", "toy_long")]
    lines = table_lines(both)
    assert lines[0].split() == ["toy", "pass@1", "pass@8", "ΔSE"]
    assert lines[8].split() == ["toy_long", "pass@1", "pass@8", "ΔSE"]
    assert [line.split()[0] for line in lines[2:6]] == names
    assert len({len(line) for line in lines[:6]}) == 1
    assert max(map(len, lines)) <= WIDTH
    # GRPO's pass@1 is told from the base's, its pass@8 is not; the base has no sign.
    assert lines[3].count("▲") == 1
    assert lines[3].index("▲") < len(lines[3]) / 2
    assert "▲" not in lines[2]
    gap = both[0].against_base[0].gap.estimate
    assert lines[3].split("]")[2].split()[0].endswith(f"{gap:.1f}")
    assert "pass@K(base) − pass@1" in lines[-1]


@pytest.mark.parametrize("count", [3, 12])
def test_the_width_is_kept_for_long_names(tmp_path: Path, count: int) -> None:
    names = ["base", *(f"grpo (algorithm.group_size_{i})" for i in range(count))]
    assert max(map(len, table_lines([comparison(tmp_path, names)]))) <= WIDTH
