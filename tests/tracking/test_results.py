"""pass@k in W&B and TensorBoard, read back by their own readers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rlvr.config import TrackingConfig
from rlvr.errors import ConfigError
from rlvr.tracking.results import PassAtK, ResultTracker
from tests.tracking.test_trackers import assert_recorded

POINTS = [
    PassAtK(benchmark, model, k, value, value - 0.1, value + 0.1, value - 0.2, value + 0.2)
    for benchmark in ("chains", "longer")
    for model, values in {"base": (0.2, 0.4), "grpo": (0.5, 0.6)}.items()
    for k, value in zip((1, 2), values, strict=True)
]


def test_tensorboard_has_a_curve_over_k_for_every_model(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for _ in range(2):  # measured again, it replaces what was there
        with ResultTracker(tmp_path, TrackingConfig(tensorboard=True), {}) as tracker:
            tracker.log(POINTS, [])
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    names = {
        f"pass_at_k/{benchmark}/{model}" for benchmark in ("chains", "longer") for model in ("base", "grpo")
    }
    assert set(events.Tags()["scalars"]) == names
    found = [(event.step, round(event.value, 6)) for event in events.Scalars("pass_at_k/longer/grpo")]
    assert found == [(1, 0.5), (2, 0.6)]


def test_nothing_is_written_where_nothing_is_asked_for(tmp_path: Path) -> None:
    with ResultTracker(tmp_path / "run", TrackingConfig(), {}) as tracker:
        tracker.log(POINTS, [])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("wandb_folders")
def test_wandb_has_the_curves_the_table_and_the_report(tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    report.write_text("<p>the report itself</p>")
    config = TrackingConfig(wandb="offline", wandb_group="sweep", wandb_tags=["seed=0"])
    with ResultTracker(tmp_path / "run", config, {"seed": 0}) as tracker:
        tracker.log(POINTS, [report])
    for words in (b"pass_at_k/chains/base", b"pass_at_k/table", b"report.html", b"sweep", b"seed=0"):
        assert_recorded(tmp_path / "run", words=words)
    [table] = (tmp_path / "run").rglob("*.table.json")
    rows = json.loads(table.read_text())
    assert rows["columns"][:4] == ["benchmark", "model", "k", "pass_at_k"]
    assert len(rows["data"]) == len(POINTS)


@pytest.mark.usefixtures("wandb_folders")
def test_what_wandb_refuses_is_known_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "no key")
    with (
        pytest.raises(ConfigError, match="W&B could not start"),
        ResultTracker(tmp_path / "run", TrackingConfig(wandb="online"), {}) as tracker,
    ):
        tracker.start()


def test_a_tag_that_wandb_would_refuse() -> None:
    with pytest.raises(ConfigError, match="is no tag"):
        TrackingConfig(wandb_tags=["x" * 65])
