"""`python -m performance border` on a study's folder as `rlvr study` leaves it, checkpoints included."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from performance import border
from performance.__main__ import main
from tests.fabricate import COUNTS, N, study_folder


def write_study(folder: Path, num_skills: int, models: tuple[str, ...]) -> None:
    study_folder(folder, models, benchmarks=("skills",))
    config = json.loads((folder / "config.json").read_text())
    config |= {"data": {"skills": {"num_skills": num_skills}}, "train": {"num_steps": 6}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "summary.json").write_text("{}")


def test_each_model_is_a_point_by_skills_and_then_by_steps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_study(tmp_path / "b", 600, ("base", "grpo-step2", "grpo-step4", "grpo"))
    write_study(tmp_path / "a", 30, ("base", "grpo"))
    points = border.read_points(tmp_path)
    assert [(each.num_skills, each.num_steps) for each in points] == [(30, 6), (600, 2), (600, 4), (600, 6)]
    base, early = COUNTS["base"], COUNTS["grpo-step2"]
    assert points[1].first[0] == pytest.approx((sum(early) - sum(base)) / len(base) / N)
    assert points[1].first[1] <= points[1].first[0] <= points[1].first[2]
    both = sum(b > 0 and e > 0 for b, e in zip(base, early, strict=True))
    only = sum(b > 0 and e == 0 for b, e in zip(base, early, strict=True))
    assert points[1].coverage[:2] == (both, only)
    assert sum(points[1].coverage) == len(base)
    figure, rows = tmp_path / "border.png", tmp_path / "border.json"
    assert main(["border", f"--folder={tmp_path}", f"--figure={figure}", f"--json={rows}"]) == 0
    assert "both/base/RL/none" in capsys.readouterr().out
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert len(json.loads(rows.read_text())["points"]) == 4


def test_a_folder_without_studies_says_how_to_make_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["border", f"--folder={tmp_path}"]) == 2
    assert border.COMMAND in capsys.readouterr().err
