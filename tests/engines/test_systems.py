"""The study's systems, one of each family, trained for a step at the scale of this machine; docs/paper.md has all of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.commands import TIMEOUT, assert_nothing_left, start, stderr
from tests.vision import qwen_model, visual_set

FAMILIES = {
    "mathematics": ("recipe=dapo_32b", "scale=tiny"),
    "code": ("recipe=code_r1", "scale=tiny_code"),
    "images": ("recipe=easyr1", "scale=tiny", "data.path=mathvista", "rollout.max_response_tokens=8"),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_system_of_each_family_is_trained(tmp_path: Path, family: str) -> None:
    words = [*FAMILIES[family], "train.num_steps=1", "rollout.num_workers=1", "learner.num_learners=1"]
    if family == "images":
        visual_set(tmp_path)
        words += [f"data.folder={tmp_path}", f"model={qwen_model(tmp_path / 'model')}"]
    run = tmp_path / "run"
    command = start(tmp_path, "train", *words, f"run.dir={run}")
    command.communicate(timeout=TIMEOUT)
    assert command.returncode == 0, stderr(tmp_path)
    [row] = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert row["sync/proved_share"] == 1
    assert row["verify/error"] == 0
    assert ("reference/kl" in row) == (family != "mathematics")
    assert ("reward/well_formed_share" in row) == (family != "mathematics")
    assert (row["filter/sampling_factor"] > 1) == (family == "mathematics")
    assert_nothing_left(tmp_path)
