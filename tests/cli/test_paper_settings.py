"""Further settings of ``rlvr paper``: which commands of its studies they reach, and that the others are named."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from rlvr.workflows import paper_run
from rlvr.workflows.paper import StudyOf, load_papers, studies_of
from rlvr.workflows.paper_plan import to_run
from tests.cli.test_paper import OWN
from tests.fabricate import study_folder

ROOT = Path("runs/nowhere")
SETTINGS = ("train.num_steps=4", "evaluation.num_samples=8", "data.skills.seed=5", "model=other", "seed=3")


def commands() -> dict[str, list[list[str]]]:
    """The words of all commands of both papers with these settings, by their study."""
    every = studies_of(load_papers(["2504.13837", "2512.07783"]))
    return {name: to_run(study, ROOT / name, SETTINGS) for name, study in every.items() if not study.recipe}


def test_what_a_command_knows_reaches_it(composed) -> None:
    found = 0
    for study, lacking in commands().items():
        for words in lacking:
            if words[0] not in ("study", "train", "evaluate") or study == "tiny-entropy":
                continue  # the last one asks for a temperature that is found on the way
            [(config, _)] = composed(*words)
            assert config.evaluation.num_samples == 8, words
            assert config.seed == 3
            assert config.model != "other"
            assert str(ROOT / study) in config.run.dir
            # A student is not taught what it is asked: a command keeps the data that it names itself.
            assert config.data.skills.seed == (1 if "/lessons" in config.run.dir else 5)
            if words[0] != "evaluate":
                assert config.train.num_steps == 4, words
            found += 1
    # Studies and their trainings of the second paper, the pictures of the first, measurements of mid-training and a student.
    assert found == 6 + 1 + 2 + 2


def test_every_command_takes_several_seeds(composed) -> None:
    every = studies_of(load_papers(["2504.13837", "2512.07783"]))
    kinds = ("study", "train", "evaluate")
    found = 0
    for name, study in every.items():
        for words in to_run(study, ROOT / name, (), (0, 1)):
            if words[0] in kinds and name != "tiny-entropy":
                [(config, _)] = composed(*words)
                found += words[0] != "evaluate" and study.takes_seeds
                if words[0] == "study" and study.takes_seeds:
                    assert config.seeds == [0, 1], words
                if words[0] == "train":
                    assert config.run.dir.endswith(f"-seed{config.seed}"), words
    assert found == sum(study.takes_seeds for study in every.values()) + 1  # mid-training trains twice
    models = next(word for word in words_of_mid(every) if word.startswith("models="))
    assert models.count("-seed0") == models.count("-seed1") == 4  # names and folders of two models


def words_of_mid(every: dict[str, StudyOf]) -> list[str]:
    """Of the command that measures mid-training."""
    return to_run(every["interplay-mid"], ROOT / "interplay-mid", (), (0, 1))[-1]


def test_pre_training_distillation_and_analyses_stay_as_they_are() -> None:
    for lacking in commands().values():
        for words in lacking:
            if words[0] in ("pretrain", "distill", "entropy", "report"):
                assert not set(words) & set(SETTINGS), words


@pytest.mark.parametrize("dry", [True, False])
def test_what_reaches_no_command_of_a_study_is_said_before_anything_starts(
    rlvr, cwd: Path, monkeypatch: pytest.MonkeyPatch, dry: bool
) -> None:
    base = {"about": "a base", "minutes": 1, "commands": [{"run": "pretrain x=y", "makes": "x"}]}
    again = {
        "about": "measured again", "minutes": 1, "after": ["one"], "measured_in": "again",
        "commands": [{"run": "evaluate model={root}/one/grpo num_samples=64 run.dir={folder}/again", "makes": "x"}],
    }  # fmt: skip
    studies = {"base": base, **OWN["studies"], "again": again}
    (cwd / "own.yaml").write_text(yaml.safe_dump({**OWN, "studies": studies}, sort_keys=False))
    study_folder(cwd / "runs/two", ("base", "grpo"))
    started: list[list[str]] = []

    def call(words: list[str]) -> int:
        started.append(list(words))
        return 2

    monkeypatch.setattr(paper_run, "call", call)
    words = ("claims=own.yaml", "only=base,one,two,again", "train.num_steps=4", "evaluation.num_samples=8")
    result = rlvr("paper", *words, *(["--dry-run"] if dry else []))
    said = result.out if dry else result.err
    assert "train.num_steps=4 reaches no command of base, again\n" in said
    assert "evaluation.num_samples=8 reaches no command of base\n" in said
    if dry:
        command = "rlvr evaluate model=runs/one/grpo run.dir=runs/again/again evaluation.num_samples=8"
        assert command in said
    else:
        assert said.index("reaches no command") < said.index("study 1 of 3")
        assert ["study", "recipe=tiny", *words[2:], "run.reuse_from=runs", "run.dir=runs/one"] in started
