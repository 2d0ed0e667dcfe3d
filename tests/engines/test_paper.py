"""``rlvr paper`` on real engines: killed, terminated, and gone on with to its page."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.commands import TIMEOUT, assert_nothing_left, end_all, start, stderr, wait_for

STEPS = 10
PROBLEMS = "data.skills.num_test=12"
CLAIM = {"text": "It rises.", "paper": "Table 1", "benchmark": "skills"}
OWN: dict[str, Any] = {
    "title": "Is it so?",
    "source": "us",
    "studies": {
        "one": {
            "recipe": "tiny",
            "overrides": [
                f"train.num_steps={STEPS}", "train.prompts_per_step=8", "evaluation.num_samples=8", PROBLEMS,
                "learner.threads_per_learner=1",
            ],
            "about": "a short study",
            "minutes": 2,
        },
        "hot": {
            "sweep_of": "one",
            "measured_in": "measured",
            "about": "at equal entropy",
            "minutes": 1,
            "commands": [
                {"run": "entropy {root}/one match=0.5,0.8,1.2,1.5", "makes": "../one/evaluation/skills/grpo/equal_entropy.json"},
                {
                    "run": f"evaluate 'models={{hot: {{root}}/one/grpo}}' benchmark=skills num_samples=8 {PROBLEMS} "
                    "'temperature=${rlvr_equal_entropy:{root}/one/evaluation/skills/grpo}' run.dir={folder}/measured",
                    "makes": "measured/report.html",
                },
                {"run": "report {root}/one sweep={folder}/measured output={folder}", "makes": "report.html"},
            ],
        },
    },
    "claims": {
        "up": {**CLAIM, "study": "one", "condition": "each@1 - base@1 > 0"},
        "helps": {**CLAIM, "study": "hot", "condition": "hot@n - grpo@n > 0", "figure": "temperature_pass_at_8"},
    },
    "limits": ["It is short."],
}  # fmt: skip

SHORT = f"train.num_steps=2 train.prompts_per_step=8 evaluation.num_samples=8 {PROBLEMS}"
SEEDED: dict[str, Any] = {
    **OWN,
    "studies": {
        "one": {"recipe": "tiny", "overrides": SHORT.split(), "about": "a short study", "minutes": 1},
        "two": {
            "after": ["one"],
            "measured_in": "measured",
            "about": "its models, and further ones from them",
            "minutes": 1,
            "commands": [
                {
                    "run": f"train recipe=tiny model={{root}}/one/grpo{{-seed}}/model seed={{seed}} run.dir={{folder}}/more{{-seed}} {SHORT}",
                    "makes": "more{-seed}/model/config.json",
                },
                {
                    "run": "evaluate 'models={base: {package}/models/tiny, grpo{-seed}: {root}/one/grpo{-seed}, more{-seed}: {folder}/more{-seed}}' "
                    f"benchmark=skills num_samples=8 {PROBLEMS} run.dir={{folder}}/measured",
                    "makes": "measured/report.html",
                },
            ],
        },
    },
    "claims": {
        "up": {**CLAIM, "study": "one", "condition": "each@1 - base@1 > 0"},
        "further": {**CLAIM, "study": "two", "condition": "more@1 - grpo@1 > 0"},
    },
}  # fmt: skip


@pytest.fixture(autouse=True)
def end_what_was_started(tmp_path: Path) -> Iterator[None]:
    """A failed test must not leave a run behind that slows down the others."""
    yield
    end_all(tmp_path)


@pytest.mark.faults
def test_a_paper_killed_and_terminated_goes_on_to_its_page(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(OWN, sort_keys=False))
    root = tmp_path / "runs"
    words = ("paper", f"claims={tmp_path / 'own.yaml'}", f"folder={root}")
    metrics, checkpoints = root / "one/grpo/metrics.jsonl", root / "one/grpo/checkpoints"

    def has_come_to(step: int) -> bool:
        return metrics.exists() and f'"step": {step},' in metrics.read_text()

    command = start(tmp_path, *words)
    wait_for(lambda: has_come_to(2), command)
    command.kill()  # itself alone: the study that it runs ends by itself, with a checkpoint
    command.communicate(timeout=60)
    assert_nothing_left(tmp_path, killed=True)
    [first] = checkpoints.iterdir()

    command = start(tmp_path, *words)
    wait_for(lambda: has_come_to(int(first.name.partition("-")[2]) + 2), command)
    os.killpg(command.pid, signal.SIGTERM)
    command.communicate(timeout=60)
    assert command.returncode == 143, stderr(tmp_path)
    assert_nothing_left(tmp_path)
    assert max(each.name for each in checkpoints.iterdir()) > first.name

    command = start(tmp_path, *words)
    output, _ = command.communicate(timeout=TIMEOUT)
    assert command.returncode == 0, stderr(tmp_path)
    said = stderr(tmp_path)
    assert "study 1 of 2: one, a short study" in said
    assert "study 2 of 2: hot, at equal entropy" in said
    assert "It rises." in output
    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    data = json.loads((root / "paper/claims.json").read_text())
    claims = data["papers"]["own"]["claims"]
    assert all(claim["decision"] in ("supported", "contradicted", "undecided") for claim in claims.values())
    assert claims["helps"]["effects"][0]["model"] == "hot against grpo"
    assert set(claims["helps"]["figures"]) == {"svg", "png", "csv"}
    found = json.loads((root / "one/evaluation/skills/grpo/equal_entropy.json").read_text())
    spec = json.loads((root / "hot/measured/evaluation/skills/hot/spec.json").read_text())
    assert spec["sampling"]["temperature"] == found["temperature"] != 1.0
    # All sessions of the study are in its time, the starts of engines as well.
    assert data["studies"]["one"]["wall_seconds_of"] == "commands"
    assert data["studies"]["one"]["wall_seconds"] > sum(row["time/step"] for row in rows)
    assert_nothing_left(tmp_path)


@pytest.mark.faults
def test_one_run_each_becomes_several_seeds_that_share_it(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(SEEDED, sort_keys=False))
    claims, old, new = f"claims={tmp_path / 'own.yaml'}", tmp_path / "runs", tmp_path / "runs/seeds"

    def run(*words: str) -> tuple[str, dict[str, Any]]:
        command = start(tmp_path, "paper", claims, *words)
        command.communicate(timeout=TIMEOUT)
        assert command.returncode == 0, stderr(tmp_path)
        folder = new if any(word.startswith("seeds=") for word in words) else old
        return stderr(tmp_path), json.loads((folder / "paper/claims.json").read_text())["papers"]["own"][
            "claims"
        ]

    _, found = run(f"folder={old}", "only=one")
    assert found["up"]["num_runs"] == 1
    words = (f"folder={new}", f"run.reuse_from={old}")
    said, found = run(*words, "seeds=[0,1]")
    assert f"{new}/one/grpo-seed0 is the same run as {old}/one/grpo" in said
    assert (found["up"]["num_runs"], found["further"]["num_runs"]) == (2, 2)
    assert found["further"]["effects"][0]["model"] == "more against grpo"
    trained = {
        name: (new / name / "metrics.jsonl").stat().st_mtime_ns
        for name in ("one/grpo-seed1", "two/more-seed0")
    }
    _, found = run(*words, "seeds=[0,1,2]")
    assert (found["up"]["num_runs"], found["further"]["num_runs"]) == (3, 3)
    assert trained == {name: (new / name / "metrics.jsonl").stat().st_mtime_ns for name in trained}
    assert_nothing_left(tmp_path)
