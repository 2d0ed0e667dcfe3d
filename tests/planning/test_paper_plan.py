"""How far the studies of papers' claims are, and how long the rest will take."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from rlvr.errors import ConfigError, RlvrError
from rlvr.files import write_json
from rlvr.run_folder import add_evaluation_seconds, command_seconds, recorded_seconds
from rlvr.workflows import paper_run
from rlvr.workflows.paper import Command, Paper, StudyOf
from rlvr.workflows.paper_plan import DONE, PARTLY, TO_RUN, Plan, minutes, plan_lines, standing
from tests.fabricate import study_folder, study_in_training


def pretrain(name: str = "base", minutes: int = 10, **more: Any) -> StudyOf:
    command = Command("pretrain output={folder}", "pretraining.json")
    return StudyOf(name, "a base", minutes, commands=(command,), **more)


def pretrained(folder: Path, seconds: float) -> None:
    folder.mkdir(parents=True)
    write_json(folder / "pretraining.json", {"wall_seconds": seconds})


def test_a_study_is_done_partly_done_or_to_run(tmp_path: Path) -> None:
    study = StudyOf("it", "a study", 10, recipe="tiny", commands=(Command("audit {folder}", "read.txt"),))
    assert standing(study, tmp_path / "it").state == TO_RUN
    # Stopped before anything was measured, or trained: it goes on.
    (tmp_path / "it").mkdir()
    write_json(tmp_path / "it/config.json", {"algorithm": {"name": "grpo"}})
    found = standing(study, tmp_path / "it")
    assert (found.state, [words[0] for words in found.waiting]) == (PARTLY, ["study", "audit"])
    study_in_training(tmp_path / "on")
    assert standing(study, tmp_path / "on").state == PARTLY
    study_folder(tmp_path / "whole", ("base", "grpo"))
    found = standing(study, tmp_path / "whole")
    assert (found.state, [words[0] for words in found.waiting]) == (PARTLY, ["audit"])
    (tmp_path / "whole/read.txt").touch()
    assert standing(study, tmp_path / "whole").state == DONE


def test_further_settings_reach_the_commands_that_know_them(tmp_path: Path) -> None:
    commands = (Command("evaluate x evaluation.num_samples=256", "a"), Command("entropy x", "b"))
    words = ["train.num_steps=4", "evaluation.num_samples=8", "data.skills.num_test=12"]
    study = StudyOf("hot", "hotter", 1, commands=commands)
    assert standing(study, tmp_path / "hot", words).waiting == (
        ("evaluate", "x", *words[1:], f"run.reuse_from={tmp_path}"),
        ("entropy", "x"),
    )


def test_all_kinds_of_records_count_and_links_once(tmp_path: Path) -> None:
    study = study_folder(tmp_path / "it", ("base", "grpo"))  # its training took 30 s
    add_evaluation_seconds(study / "evaluation/toy/base", 5, 1)
    pretrained(tmp_path / "elsewhere", 7)
    (study / "teacher").symlink_to(tmp_path / "elsewhere")
    (study / "again").symlink_to(tmp_path / "elsewhere")
    (study / "student").mkdir()
    write_json(study / "student/distilled.json", {"wall_seconds": 11})
    assert recorded_seconds(study) == 30 + 5 + 7 + 11
    assert recorded_seconds(tmp_path / "nowhere") == 0


def test_the_minutes_left_go_by_what_finished_studies_took(tmp_path: Path) -> None:
    every = {name: pretrain(name) for name in ("a", "b", "c", "d")}
    assert Plan.of(every, ["a", "b"], tmp_path).speed is None
    assert Plan.of(every, ["a", "b"], tmp_path).seconds_left() == 2 * 600
    # 20 minutes were planned, 40 are what two took here, one of which is not asked for.
    pretrained(tmp_path / "a", 900)
    pretrained(tmp_path / "d", 1500)
    plan = Plan.of(every, ["a", "b", "c"], tmp_path)
    assert plan.speed == 2.0
    assert plan.seconds_left() == 2 * 1200
    # Of what is partly done the time so far is gone, but for a tenth.
    for taken, left in ((300.0, 900.0), (5000.0, 120.0)):
        (tmp_path / "b").mkdir(exist_ok=True)
        write_json(tmp_path / "b/distilled.json", {"wall_seconds": taken})
        plan = plan.again("b")
        assert plan.seconds_left(plan.there["b"]) == pytest.approx(left)
        assert plan.seconds_left() == pytest.approx(left + 1200)
    lines = "\n".join(plan_lines(plan))
    assert "× 2.00" in lines
    assert "rlvr pretrain output=" in lines
    assert [minutes(each) for each in (1, 90, 3599, 7860)] == ["1 min", "2 min", "1 h 00 min", "2 h 11 min"]


def test_the_time_of_commands_is_kept_over_sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = pretrain()
    clock, codes = iter([0.0, 100.0, 1000.0, 1250.0, 0.0, 1.0, 0.0, 5.0]), iter([1, 0, 2, 0])
    monkeypatch.setattr(paper_run, "time", SimpleNamespace(monotonic=lambda: next(clock)))

    def call(words: Any) -> int:
        folder = tmp_path / "base"
        if not folder.exists():
            pretrained(folder, 200)
        return next(codes)

    monkeypatch.setattr(paper_run, "call", call)
    there = standing(study, tmp_path / "base")
    assert (there.state, there.seconds) == (TO_RUN, 0)
    with pytest.raises(RlvrError, match="exit code 1"):
        paper_run.run_command(there.waiting[0], there)
    paper_run.run_command(there.waiting[0], there)
    assert list(command_seconds(tmp_path / "base").values()) == [350.0]
    there = standing(study, tmp_path / "base")
    # More than its record of the training, since starts are in it.
    assert (there.seconds, there.is_whole) == (350.0, True)
    # A command that has failed before it made a folder leaves none behind; one that has made what lies elsewhere does.
    other = standing(pretrain("other"), tmp_path / "other")
    with pytest.raises(RlvrError, match="exit code 2"):
        paper_run.run_command(["study"], other)
    assert not (tmp_path / "other").exists()
    paper_run.run_command(["entropy"], other)
    assert command_seconds(tmp_path / "other") == {"entropy": 5.0}


def test_studies_that_others_go_on_from_come_first(tmp_path: Path) -> None:
    claim = {"text": "x", "paper": "y", "benchmark": "toy", "condition": "each@1 - base@1 > 0"}
    base = {"about": "a base", "minutes": 1, "commands": [{"run": "pretrain", "makes": "x"}]}
    one = {"recipe": "tiny", "about": "a study", "minutes": 2, "after": ["base"]}
    content: dict[str, Any] = {
        "title": "t", "source": "s", "limits": [],
        "studies": {"base": base, "one": one, "two": {**one, "after": []}},
        "claims": {"up": {**claim, "study": "one"}, "down": {**claim, "study": "two"}},
    }  # fmt: skip
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(content))
    paper = Paper.load(path)
    assert list(paper.only(["up"]).studies) == ["base", "one"]
    assert list(paper.only(["down"]).studies) == ["two"]
    assert list(paper.only(["base"]).studies) == ["base"]
    content["studies"] = {"one": one, "base": base}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    with pytest.raises(ConfigError, match="it needs a study 'base', and there is none above it"):
        Paper.load(path)
