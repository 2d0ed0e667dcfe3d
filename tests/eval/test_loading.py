"""Collecting evaluations from folders: found, merged, named, and refused where they do not fit."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rlvr.errors import ConfigError, DataError
from rlvr.eval.discovery import run_command
from rlvr.eval.loading import load_results, numbers_in_order, shortest_endings
from rlvr.eval.report.analysis import analyse
from rlvr.eval.results import StudyResults
from rlvr.eval.samples import encode_samples, read_samples
from rlvr.run_folder import PROBLEMS_FILE, SAMPLES_FILE, run_dir_of
from tests.fabricate import COUNTS, evaluation, sha, study_folder, study_in_training, toy_problems


def names(study: StudyResults) -> list[str]:
    return [each.name for each in study.benchmarks[0].evaluations]


def test_a_study_is_read_as_it_was_reported(tmp_path: Path) -> None:
    models = ("base", "grpo", "ppo", "grpo-step2", "grpo-step4")
    study = load_results([study_folder(tmp_path / "tiny", models, ("toy", "a_long"))])
    # In the order in which they were trained, by trained.json, and the in-domain benchmark first.
    assert names(study) == ["base", "ppo", "grpo", "grpo-step2", "grpo-step4"]
    assert [(each.name, each.out_of_domain) for each in study.benchmarks] == [
        ("toy", False),
        ("a_long", True),
    ]
    assert list(study.benchmarks[0].problems) == toy_problems()
    assert [row["step"] for row in study.metrics["grpo"]] == [1, 2, 3, 4, 5, 6]
    assert study.provenance["runs"]["ppo"]["command"] == f"rlvr study run.dir={tmp_path}/tiny"
    assert study.provenance["wall_seconds"]["train"] == 60
    assert [point.step for point in analyse(study, num_resamples=10)[0].steps[0].points] == [0, 2, 4, 6]


def test_a_multirun_names_its_jobs_by_their_folders(tmp_path: Path) -> None:
    jobs = ["algorithm.kl.coef_0.0", "algorithm.kl.coef_0.001"]
    for job in jobs:
        study_folder(tmp_path / "kl" / job, ("base", "grpo", "grpo-step2"), tag=job)
    study = load_results([tmp_path / "kl"])
    assert names(study) == [
        "base",
        "grpo (algorithm.kl.coef_0.0)", "grpo (algorithm.kl.coef_0.0)-step2",
        "grpo (algorithm.kl.coef_0.001)", "grpo (algorithm.kl.coef_0.001)-step2",
    ]  # fmt: skip
    assert list(study.metrics) == [f"grpo ({job})" for job in jobs]
    assert [run.run for run in analyse(study, num_resamples=10)[0].steps] == list(study.metrics)


def test_names_that_occur_once_stay_as_they_are(tmp_path: Path) -> None:
    study_folder(tmp_path / "a" / "tiny", ("base", "grpo"))
    study_folder(tmp_path / "b" / "tiny", ("base", "grpo", "ppo"), tag="b")
    assert names(load_results([tmp_path / "a", tmp_path / "b"])) == [
        "base",
        "grpo (a/tiny)",
        "ppo",
        "grpo (b/tiny)",
    ]


def test_a_folder_given_twice_counts_once(tmp_path: Path) -> None:
    home = study_folder(tmp_path / "tiny")
    assert names(load_results([tmp_path, home, home / "evaluation"])) == names(load_results([home]))


def test_evaluations_alone_have_their_first_as_base(tmp_path: Path) -> None:
    for folder, name in (("two", "grpo"), ("one", "ppo")):
        evaluation(tmp_path / folder / "samples", name, COUNTS[name])
    study = load_results([tmp_path / "two", tmp_path / "one"])
    assert names(study) == ["grpo", "ppo"]
    assert [each.out_of_domain for each in study.benchmarks] == [False]
    assert study.metrics == {}


def test_the_base_under_another_name_appears_once(tmp_path: Path) -> None:
    home = study_folder(tmp_path / "tiny", ("base", "grpo"))
    spec = load_results([home]).benchmarks[0].evaluations[0].spec
    evaluation(tmp_path / "again" / "samples", "tiny", COUNTS["base"], model_sha256=spec.model_sha256)
    assert names(load_results([home, tmp_path / "again"])) == ["base", "grpo"]


def test_benchmarks_can_be_chosen(tmp_path: Path) -> None:
    study_folder(tmp_path / "two", ("base", "grpo"), ("toy", "toy_long"))
    study_folder(tmp_path / "one", ("base", "ppo"), ("toy",))
    with pytest.raises(DataError, match="'ppo' has not been evaluated on 'toy_long'") as caught:
        load_results([tmp_path])
    assert caught.value.where == str(tmp_path / "one")
    assert "benchmarks=toy" in str(caught.value.fix)
    study = load_results([tmp_path], ["toy"])
    assert [each.name for each in study.benchmarks] == ["toy"]
    with pytest.raises(ConfigError, match="no evaluation on 'toi'") as refused:
        load_results([tmp_path], ["toi"])
    assert refused.value.fix == "did you mean 'toy'?"


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"prompt_template": "plain"}, "prompt_template is 'boxed' against 'plain'"),
        ({"sampling": {"temperature": 1.0}}, "sampling"),
        ({"verifier": "math-2"}, "verifier"),
        ({"problems_sha256": "0"}, "problems_sha256"),
    ],
)
def test_a_base_measured_differently_is_refused(
    tmp_path: Path, changes: dict[str, object], word: str
) -> None:
    one = study_folder(tmp_path / "one", ("base", "grpo"))
    two = study_folder(tmp_path / "two", ("base", "ppo"), changes=changes)
    with pytest.raises(ConfigError, match=word) as caught:
        load_results([one, two])
    assert str(one / "evaluation" / "toy" / "base") in str(caught.value.where)
    assert str(two / "evaluation" / "toy" / "base") in str(caught.value.where)


def test_different_bases_are_refused(tmp_path: Path) -> None:
    one = study_folder(tmp_path / "one", ("base", "grpo"))
    two = study_folder(tmp_path / "two", ("base", "ppo"))
    spec = two / "evaluation/toy/base/spec.json"
    spec.write_text(spec.read_text().replace(sha("base"), sha("other")))
    with pytest.raises(ConfigError, match="different base models"):
        load_results([one, two])


def test_a_model_that_is_half_measured_is_left_out_and_named(tmp_path: Path) -> None:
    home = study_folder(tmp_path / "tiny")
    folder = home / "evaluation" / "toy" / "ppo"
    rows = list(read_samples(folder / SAMPLES_FILE))
    (folder / SAMPLES_FILE).write_bytes(encode_samples(rows[:-1]))
    study = load_results([home])
    assert "ppo" not in names(study)
    [stage] = study.unfinished
    assert str(stage) == "measuring ppo on toy: 95 of 96 samples"
    assert (stage.where, stage.command) == (folder, f"run this again, it goes on: rlvr study run.dir={home}")


def test_an_unfinished_evaluate_names_its_command(tmp_path: Path) -> None:
    for name in ("base", "ppo"):
        evaluation(tmp_path / "mine" / "evaluation" / "toy" / name, name, COUNTS[name])
    (tmp_path / "mine" / "evaluation" / "toy" / "ppo" / SAMPLES_FILE).write_bytes(b"")
    [stage] = load_results([tmp_path]).unfinished
    assert stage.progress == "not begun"
    # It measures all that lies there: `rlvr evaluate` refuses to write a report that has less.
    models = "'models={base: runs/base, ppo: runs/ppo}'"
    command = f"rlvr evaluate {models} benchmark=toy num_samples=8 run.dir={tmp_path}/mine"
    assert command in stage.command


@pytest.mark.parametrize(
    ("lost", "stages"),
    [
        ("grpo/trained.json", ["training grpo: 6 steps"]),
        ("evaluation/toy/grpo", ["measuring grpo: not begun"]),
    ],
)
def test_an_unfinished_run_is_named(tmp_path: Path, lost: str, stages: list[str]) -> None:
    home = study_folder(tmp_path / "tiny")
    for path in [home / lost] if (home / lost).is_file() else (home / lost).iterdir():
        path.unlink()
    study = load_results([tmp_path])
    assert [str(stage) for stage in study.unfinished] == stages
    assert [row["step"] for row in study.metrics["grpo"]] == [1, 2, 3, 4, 5, 6]
    # The other run of the study knows the command, where it is that of a study.
    assert any(
        command in study.unfinished[0].command for command in (f"run.dir={home}", f"model={home}/grpo")
    )


def test_a_study_that_trains_has_its_curves_and_names_what_is_to_come(tmp_path: Path) -> None:
    home = study_in_training(tmp_path / "study")
    study = load_results([home])
    assert study.benchmarks == []
    assert {run: len(rows) for run, rows in study.metrics.items()} == {"ppo": 4, "grpo": 2}
    assert [str(stage) for stage in study.unfinished] == [
        "training grpo: 2 of 4 steps",
        "measuring base, ppo, grpo on toy: not begun",
        "measuring base, ppo, grpo on toy_long: not begun",
    ]
    assert {stage.command for stage in study.unfinished} == {
        f"run this again, it goes on: rlvr study run.dir={home}"
    }


def test_a_study_shows_the_models_and_benchmarks_that_it_has_measured(tmp_path: Path) -> None:
    home = study_in_training(tmp_path / "study")
    for benchmark, models in {"toy": ("base", "ppo"), "toy_long": ("base",)}.items():
        for name in models:
            evaluation(home / "evaluation" / benchmark / name, name, COUNTS[name], benchmark=benchmark)
    study = load_results([home])
    assert names(study) == ["base"]  # PPO is to be measured on the second one, too
    assert [str(stage) for stage in study.unfinished][1:] == [
        "measuring grpo on toy: not begun",
        "measuring ppo, grpo on toy_long: not begun",
    ]
    evaluation(home / "evaluation" / "toy_long" / "ppo", "ppo", COUNTS["ppo"], benchmark="toy_long")
    assert names(load_results([home])) == ["base", "ppo"]


def test_a_run_alone_has_its_curves(tmp_path: Path) -> None:
    home = study_in_training(tmp_path / "study")
    study = load_results([home / "grpo"])
    assert list(study.metrics) == ["grpo"]
    assert [str(stage) for stage in study.unfinished] == ["training grpo: 2 of 4 steps"]
    done = load_results([home / "ppo"])
    assert (list(done.metrics), done.unfinished) == (["ppo"], [])


def test_a_folder_without_evaluations(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no evaluation that is finished was found"):
        load_results([tmp_path])
    with pytest.raises(ConfigError, match="no such folder"):
        load_results([tmp_path / "nowhere"])


def test_a_spec_of_another_kind_is_named(tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text('{"model_name": "x"}')
    with pytest.raises(DataError, match="not the spec of an evaluation") as caught:
        load_results([tmp_path])
    assert caught.value.where == str(tmp_path / "spec.json")


def test_evaluations_of_earlier_versions_have_no_problems_but_their_order(tmp_path: Path) -> None:
    home = study_folder(tmp_path / "tiny", ("base", "grpo"))
    for path in home.rglob(PROBLEMS_FILE):
        path.unlink()
    [benchmark] = load_results([home]).benchmarks
    assert benchmark.evaluations[0].problem_ids == tuple(f"toy/test/{i}" for i in range(12))
    assert benchmark.evaluations[0].num_correct.tolist() == COUNTS["base"]
    assert benchmark.problems == []


def test_numbers_in_ids_count_as_numbers() -> None:
    ids = ["a/9", "a/10", "a/b", "a/1"]
    assert sorted(ids, key=numbers_in_order) == ["a/b", "a/1", "a/9", "a/10"]


@pytest.mark.parametrize(
    ("store", "home"),
    [
        ("runs/tiny/evaluation/chains/base", "runs/tiny"),
        ("evaluation/runs/tiny/evaluation/base", "evaluation/runs/tiny"),
        ("runs/evaluate/tiny/evaluation/chains/tiny", "runs/evaluate/tiny"),
        ("runs/odd", "runs/odd"),
    ],
)
def test_the_home_of_an_evaluation(store: str, home: str) -> None:
    assert run_dir_of(Path(store)) == Path(home)


def test_endings_are_as_short_as_they_can_be() -> None:
    paths = {Path("/x/a/tiny"), Path("/x/b/tiny"), Path("/x/b/large")}
    assert set(shortest_endings(paths).values()) == {"a/tiny", "b/tiny", "b/large"}
    assert shortest_endings([Path("/x/a")]) == {Path("/x/a"): "a"}
    assert re.fullmatch(r"[^/]+", next(iter(shortest_endings([Path()]).values())))


def test_the_command_that_goes_on_is_that_of_the_run(tmp_path: Path) -> None:
    training, study = tmp_path / "training", tmp_path / "study"
    for folder in (training, study, study / "grpo"):
        folder.mkdir()
        (folder / "config.json").write_text("{}")
    for folder in (training, study / "grpo"):
        (folder / "metrics.jsonl").write_text("")
    assert f"the `rlvr train` command of {training} again" in run_command(training)
    assert f"the `rlvr study` command of {study} again" in run_command(study / "grpo")
