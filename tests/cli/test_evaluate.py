"""`rlvr evaluate` on fake pools: tables, folders, going on, several models and benchmarks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from rlvr.data.chains import make_splits
from rlvr.data.loaders import save_problems
from rlvr.errors import WeightUpdateError
from rlvr.eval.samples import read_samples
from tests.broken import rewrite
from tests.cli.pools import SMALL, Pools


def test_an_evaluation_prints_its_table_and_can_be_read(evaluate, pools: Pools, tmp_path: Path) -> None:
    result = evaluate(pools.model)
    assert result.code == 0, result.err
    assert "pass@1" in result.out or "k" in result.out.split()
    assert str(tmp_path / "measured") in result.out.splitlines()[-1]
    rows = list(
        read_samples(tmp_path / "measured" / "evaluation" / "chains" / pools.model.name / "samples.jsonl.gz")
    )
    assert len(rows) == 24
    assert sum(row.score for row in rows) == 12


def test_a_runs_folder_stands_for_its_model(train, evaluate, pools: Pools, tmp_path: Path) -> None:
    train()
    assert evaluate(tmp_path / "run").code == 0
    assert pools.evaluated == [(f"{tmp_path}/run/model", 0)]
    spec = json.loads((tmp_path / "measured" / "evaluation" / "chains" / "run" / "spec.json").read_text())
    assert spec["model_name"] == "run"


def test_a_finished_evaluation_starts_no_engine(evaluate, pools: Pools) -> None:
    assert evaluate(pools.model).code == evaluate(pools.model).code == 0
    assert len(pools.evaluated) == 1


def test_an_evaluation_is_not_mixed_with_other_settings(evaluate, pools: Pools) -> None:
    evaluate(pools.model)
    result = evaluate(pools.model, "evaluation.temperature=0.5")
    assert result.code == 2
    assert "sampling" in result.err
    assert len(pools.evaluated) == 1


@pytest.mark.parametrize("words", [("seed=1",), ("benchmark=skills",), ("name=other",)])
def test_results_are_not_overwritten_by_those_of_another_model_or_benchmark(
    evaluate, pools: Pools, tmp_path: Path, words: tuple[str, ...]
) -> None:
    evaluate(pools.model)
    before = {path: path.read_bytes() for path in (tmp_path / "measured").rglob("*") if path.is_file()}
    result = evaluate(pools.model, *words)
    assert result.code == 2
    assert "fix: " in result.err
    if words != ("seed=1",):
        assert "holds what is not measured now" in result.err
        assert f"{pools.model.name} on chains" in result.err
        assert f"run.dir={tmp_path}/measured-2" in result.err
    assert {p: p.read_bytes() for p in (tmp_path / "measured").rglob("*") if p.is_file()} == before
    assert len(pools.evaluated) == 1
    assert evaluate(pools.model, "seed=1", "run.resume=never").code == 0
    assert (tmp_path / "measured.old1").exists()


def test_a_model_more_joins_the_results(rlvr, evaluate, pools: Pools, tmp_path: Path) -> None:
    evaluate(pools.model)
    other = shutil.copytree(pools.model, tmp_path / "other")
    both = rlvr(
        "evaluate",
        f"models=[{pools.model},{other}]",
        "benchmark=chains",
        f"run.dir={tmp_path}/measured",
        *SMALL,
    )
    assert both.code == 0, both.err
    assert [Path(model).name for model, _ in pools.evaluated] == [pools.model.name, "other"]


def test_an_interrupted_evaluation_goes_on_with_other_random_numbers(
    evaluate, pools: Pools, tmp_path: Path
) -> None:
    pools.die_after = 2
    assert evaluate(pools.model).code == 130
    pools.die_after = None
    assert evaluate(pools.model).code == 0
    assert (
        len(
            list(
                read_samples(
                    tmp_path / "measured" / "evaluation" / "chains" / pools.model.name / "samples.jsonl.gz"
                )
            )
        )
        == 24
    )
    # An engine that starts from the same seed draws the noise of the stored samples once more.
    [first, second] = [seed for _, seed in pools.evaluated]
    assert first != second


def test_several_models_on_several_benchmarks_in_one_command(rlvr, pools: Pools, tmp_path: Path) -> None:
    other = shutil.copytree(pools.model, tmp_path / "other")
    rewrite(other, lambda tensors: tensors["lm_head.weight"].mul_(2))
    words = (
        f"models={{base: {pools.model}, mine: {other}}}",
        "benchmarks={chains: {}, longer: {family: chains, operations: [5], num_problems: 4}}",
    )
    result = rlvr("evaluate", *words, f"run.dir={tmp_path}/both", *SMALL)
    assert result.code == 0, result.err
    # One start of the engines for all of it, since the models differ in their weights alone.
    assert [model for model, _ in pools.evaluated] == [str(pools.model), str(other)]
    assert pools.started == 1
    for benchmark, size in (("chains", 6), ("longer", 4)):
        for model in ("base", "mine"):
            place = tmp_path / "both" / "evaluation" / benchmark / model
            assert len(list(read_samples(place / "samples.jsonl.gz"))) == size * 4
            assert json.loads((place / "spec.json").read_text())["prompt_template"].startswith("chat:")
    assert "mine" in result.out
    again = rlvr("evaluate", *words, f"run.dir={tmp_path}/both", *SMALL)
    assert (again.out, len(pools.evaluated)) == (result.out, 2)


@pytest.mark.parametrize("why", ["another end of text", "weights that are not held"])
def test_engines_that_cannot_go_on_with_another_model_are_started_anew(
    rlvr, pools: Pools, tmp_path: Path, why: str
) -> None:
    other = shutil.copytree(pools.model, tmp_path / "other")
    if why == "another end of text":
        (other / "generation_config.json").write_text('{"eos_token_id": [1, 2]}')
    else:
        pools.load_error = WeightUpdateError("2 of 20 tensors differ", where="rollout worker")
    result = rlvr(
        "evaluate", f"models=[{pools.model},{other}]", "benchmark=chains", f"run.dir={tmp_path}/both", *SMALL
    )
    assert result.code == 0, result.err
    assert pools.started == 2
    assert [model for model, _ in pools.evaluated] == [str(pools.model), str(other)]
    assert ("2 of 20 tensors differ" in result.err) == (why != "another end of text")


def test_models_with_other_chat_templates_are_refused_before_the_first_sample(
    rlvr, pools: Pools, tmp_path: Path
) -> None:
    other = shutil.copytree(pools.model, tmp_path / "other")
    [place] = [path for path in other.iterdir() if "jinja" in path.name]
    place.write_text("<|user|> say: " + place.read_text())
    words = (f"models={{base: {pools.model}, mine: {other}}}", "benchmark=chains", f"run.dir={tmp_path}/both")
    result = rlvr("evaluate", *words, *SMALL)
    assert result.code == 2
    assert "'base' and 'mine' could not be compared on chains: their chat templates differ" in result.err
    assert pools.evaluated == []
    # Plain text is the same for both.
    plain = rlvr("evaluate", *words, *SMALL, "prompt=plain")
    assert "chat templates differ" not in plain.err
    assert pools.evaluated, plain.err


def test_the_curves_are_tracked(evaluate, pools: Pools, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert evaluate(pools.model, "tracking.tensorboard=true").code == 0
    events = EventAccumulator(str(tmp_path / "measured" / "tensorboard"))
    events.Reload()
    [name] = events.Tags()["scalars"]
    assert name == f"pass_at_k/chains/{pools.model.name}"
    assert (events.Scalars(name)[0].step, events.Scalars(name)[0].value) == (1, 0.5)


def test_a_quick_look_takes_the_first_problems(evaluate, pools: Pools, tmp_path: Path) -> None:
    result = evaluate(pools.model, "limit=2")
    assert result.code == 0, result.err
    assert "chains: the first 2 of 6 problems (evaluation.limit)" in result.err
    folder = tmp_path / "measured" / "evaluation" / "chains" / pools.model.name
    found = [json.loads(line)["id"] for line in (folder / "problems.jsonl").read_text().splitlines()]
    assert found == [problem.id for problem in make_splits(8, 6, [3], 1)[1][:2]]
    assert len(list(read_samples(folder / "samples.jsonl.gz"))) == 2 * 4
    # The whole benchmark is another evaluation.
    whole = evaluate(pools.model)
    assert whole.code == 2
    assert "problems_sha256" in whole.err


def test_each_benchmark_may_have_a_sampling_of_its_own(rlvr, pools: Pools, tmp_path: Path) -> None:
    result = rlvr(
        *("evaluate", f"model={pools.model}", f"run.dir={tmp_path}/measured", *SMALL),
        "benchmarks={chains: {num_samples: 2, top_k: 20}, longer: {family: chains, operations: [5], num_problems: 4}}",
    )
    assert result.code == 0, result.err
    specs = {
        name: json.loads(
            (tmp_path / "measured" / "evaluation" / name / pools.model.name / "spec.json").read_text()
        )
        for name in ("chains", "longer")
    }
    assert [spec["num_samples"] for spec in specs.values()] == [2, 4]
    assert specs["chains"]["sampling"] == {"temperature": 1.0, "top_p": 1.0, "max_tokens": 128, "top_k": 20}
    assert "top_k" not in specs["longer"]["sampling"]


def test_benchmarks_are_sampled_as_each_asks_unless_the_command_does(
    rlvr, pools: Pools, tmp_path: Path
) -> None:
    own = tmp_path / "own.jsonl"
    save_problems(make_splits(8, 6, [3], 1)[1], own)
    words = ("evaluate", f"model={pools.model}", f"benchmark={own}", f"run.dir={tmp_path}/own")
    result = rlvr(*words, "num_samples=2", "evaluation.max_tokens=128")
    assert result.code == 0, result.err
    [place] = (tmp_path / "own" / "evaluation").glob("*/*")
    spec = json.loads((place / "spec.json").read_text())
    assert (spec["benchmark"], spec["num_samples"]) == ("own", 2)
    assert spec["sampling"] == {"temperature": 0.6, "top_p": 0.95, "max_tokens": 128}
