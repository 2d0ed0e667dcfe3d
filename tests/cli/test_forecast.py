"""What a command says of the time that it will take, from what lies beside its folder."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.pools import Pools


def as_if_it_had_taken(run: Path, seconds: float) -> None:
    """Steps of another length in a run's record."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    lines = [json.dumps({**row, "time/step": seconds}) + "\n" for row in rows]
    (run / "metrics.jsonl").write_text("".join(lines))


def runs(tmp_path: Path) -> Path:
    """A folder two levels down, so that no other test lies beside it."""
    return tmp_path / "project" / "runs"


def test_training_says_how_long_it_will_take_from_the_last_like_it(
    train, pools: Pools, tmp_path: Path
) -> None:
    here = runs(tmp_path)
    assert "about" not in train(f"run.dir={here}/study/one").err
    as_if_it_had_taken(here / "study" / "one", 30.0)
    longer = train(f"run.dir={here}/more", "train.num_steps=4")
    assert f"about 2:00, at 30.0 s a step as in {here}/study/one; starting" in longer.err
    other = train(f"run.dir={here}/other", "train.prompts_per_step=4")
    assert "s a step as in" not in other.err  # its steps are of another size


def test_a_run_of_the_same_algorithm_is_asked_before_a_newer_one_of_another(
    train, pools: Pools, tmp_path: Path
) -> None:
    here = runs(tmp_path)
    assert train(f"run.dir={here}/one").code == 0
    as_if_it_had_taken(here / "one", 30.0)
    assert "s a step as in" in train(f"run.dir={here}/rloo", "algorithm=rloo").err  # there is no other one
    as_if_it_had_taken(here / "rloo", 90.0)
    assert f"at 30.0 s a step as in {here}/one" in train(f"run.dir={here}/more").err


def test_a_run_that_goes_on_goes_by_itself(train, pools: Pools, tmp_path: Path) -> None:
    run = runs(tmp_path) / "one"
    assert train(f"run.dir={run}", "train.num_steps=2").code == 0
    as_if_it_had_taken(run, 90.0)
    result = train(f"run.dir={run}", "train.num_steps=4")
    assert "going on after step 2; about 3:00, at 90.0 s a step" in result.err


def test_another_machine_tells_nothing(train, pools: Pools, tmp_path: Path) -> None:
    here = runs(tmp_path)
    assert train(f"run.dir={here}/one").code == 0
    record = json.loads((here / "one" / "trained.json").read_text())
    record["hardware"]["cpu"] = "another one"
    (here / "one" / "trained.json").write_text(json.dumps(record))
    assert "s a step as in" not in train(f"run.dir={here}/more").err


def test_an_evaluation_goes_by_the_last_of_the_same_model(evaluate, pools: Pools, tmp_path: Path) -> None:
    here = runs(tmp_path)
    assert "the last time" not in evaluate(pools.model, f"run.dir={here}/one").err
    [seconds] = (here / "one").rglob("wall_seconds.json")
    seconds.write_text('{"seconds": 60.0, "engines": 1}')  # for 6 problems × 4 samples
    again = evaluate(pools.model, f"run.dir={here}/again", "evaluation.num_samples=8")
    assert "48 samples to draw, on 1 engine, about 2:00, as the last time" in again.err
    faster = evaluate(pools.model, f"run.dir={here}/faster", "evaluation.num_workers=2")
    assert "24 samples to draw, on 2 engines\n" in faster.err  # nobody knows how much faster
    other = evaluate(pools.model, f"run.dir={here}/hot", "evaluation.temperature=0.5")
    assert "the last time" not in other.err
