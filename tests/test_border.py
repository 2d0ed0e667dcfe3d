"""`python -m benchmarks border` on summaries as studies write them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import border
from benchmarks.__main__ import main

K = [1, 2, 4]


def write_study(folder: Path, num_skills: int, gains: dict[str, float]) -> None:
    """What a finished study says of a base and of models that gain so much at k = 1, and lose it at k = 4."""
    folder.mkdir(parents=True)
    config = {"data": {"skills": {"num_skills": num_skills}}, "train": {"num_steps": 30}}
    (folder / "config.json").write_text(json.dumps(config))
    coverage = {"both": 3, "base_only": 2, "rl_only": 1, "neither": 4}
    benchmark = {
        "k": K,
        "models": {"base": {"pass_at_k": [0.2, 0.3, 0.5]}},
        "paired_difference": {
            name: {"estimate": [x, 0.0, -x], "ci_low": [x - 1, -1, -x - 1], "ci_high": [x + 2, 1, -x + 2]}
            for name, x in gains.items()
        },
        "coverage": dict.fromkeys(gains, coverage),
    }
    (folder / "summary.json").write_text(json.dumps({"benchmarks": {"skills": benchmark}}))


def test_each_model_is_a_point_by_skills_and_then_by_steps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_study(tmp_path / "b", 600, {"grpo": 0.25, "grpo-step10": 0.125})
    write_study(tmp_path / "a", 30, {"grpo": 0.5})
    points = border.read_points(tmp_path)
    assert [(each.num_skills, each.num_steps) for each in points] == [(30, 30), (600, 10), (600, 30)]
    assert points[1].base == (0.2, 0.5)
    assert points[1].first == (0.125, -0.875, 2.125)
    assert points[1].last == (-0.125, -1.125, 1.875)
    assert points[1].coverage == (3, 2, 1, 4)
    figure, rows = tmp_path / "border.png", tmp_path / "border.json"
    assert main(["border", f"--folder={tmp_path}", f"--figure={figure}", f"--json={rows}"]) == 0
    assert "+0.125 [-0.875, +2.125]" in capsys.readouterr().out
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert len(json.loads(rows.read_text())["points"]) == 3


def test_a_folder_without_studies_says_how_to_make_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["border", f"--folder={tmp_path}"]) == 2
    assert border.COMMAND in capsys.readouterr().err
