"""The folder of a run: what is written is read back, and half-written rows are left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlvr.errors import DataError
from rlvr.run_folder import (
    METRICS_FILE,
    add_evaluation_seconds,
    evaluation_engines,
    evaluation_folder,
    evaluation_seconds,
    is_study,
    read_config,
    read_metrics,
    read_provenance,
    run_dir_of,
    trained_steps,
    training_folder,
    write_config,
    write_provenance,
)


def test_a_training_run_is_complete_once_its_provenance_is_there(tmp_path: Path) -> None:
    (tmp_path / METRICS_FILE).write_text('{"step": 1}\n{"step": 2}\n{"step":')
    assert [row["step"] for row in read_metrics(tmp_path)] == [1, 2]
    assert (trained_steps(tmp_path), read_provenance(tmp_path)) == (None, {})
    write_provenance(tmp_path, {"wall_seconds": 3.0})
    assert (trained_steps(tmp_path), read_provenance(tmp_path)) == (2, {"wall_seconds": 3.0})


def test_a_study_has_a_config_and_its_runs_below_it(tmp_path: Path) -> None:
    assert (is_study(tmp_path), read_config(tmp_path)) == (False, {})
    write_config(tmp_path, {"seed": 1})
    assert (is_study(tmp_path), read_config(tmp_path)) == (True, {"seed": 1})
    assert training_folder(tmp_path, "grpo") == tmp_path
    (tmp_path / "grpo").mkdir()
    assert training_folder(tmp_path, "grpo") == tmp_path / "grpo"
    (tmp_path / METRICS_FILE).touch()
    assert not is_study(tmp_path)


def test_an_evaluation_leads_back_to_its_run_and_adds_up_its_sessions(tmp_path: Path) -> None:
    folder = evaluation_folder(tmp_path, "chains", "grpo")
    assert run_dir_of(folder) == tmp_path
    assert run_dir_of(tmp_path / "alone") == tmp_path / "alone"
    folder.mkdir(parents=True)
    assert evaluation_seconds(folder) == 0.0
    assert evaluation_engines(folder) is None
    add_evaluation_seconds(folder, 1.25, 1)
    add_evaluation_seconds(folder, 2.0, 2)
    assert evaluation_seconds(folder) == 3.2  # to a tenth, session by session
    assert evaluation_engines(folder) == 2


def test_the_time_that_an_older_version_recorded_is_read_and_added_to(tmp_path: Path) -> None:
    (tmp_path / "wall_seconds.json").write_text("60.0")
    assert (evaluation_seconds(tmp_path), evaluation_engines(tmp_path)) == (60.0, None)
    add_evaluation_seconds(tmp_path, 2.0, 4)
    assert (evaluation_seconds(tmp_path), evaluation_engines(tmp_path)) == (62.0, 4)


@pytest.mark.parametrize(("text", "words"), [("{", "malformed JSON"), ("[1]", "not a JSON object")])
def test_a_damaged_file_is_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(DataError, match=words):
        read_config(tmp_path)
