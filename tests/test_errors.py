"""Messages for users, and errors that travel between processes."""

from __future__ import annotations

import pickle
import re
import signal
from pathlib import Path

import pytest

from rlvr import errors
from rlvr.errors import EXIT_CODES, ConfigError, RlvrError, did_you_mean

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, RlvrError)]


def test_a_message_says_what_where_and_the_fix() -> None:
    error = ConfigError("too many", where="a.b", fix="fewer")
    assert str(error).splitlines() == ["too many", "  where: a.b", "  fix:   fewer"]
    assert str(ConfigError("too many")) == "too many"


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_keeps_its_parts_between_processes(kind: type[RlvrError]) -> None:
    error = pickle.loads(pickle.dumps(kind("what", where="here", fix="this")))
    assert type(error) is kind
    assert (error.what, error.where, error.fix) == ("what", "here", "this")
    assert str(error) == str(kind("what", where="here", fix="this"))


def test_every_exit_code_stands_in_the_one_table_and_on_its_page() -> None:
    signals = {128 + signal.SIGINT, 128 + signal.SIGPIPE, 128 + signal.SIGTERM}
    assert set(EXIT_CODES) == {0, *(kind.exit_code for kind in KINDS), *signals}
    page = (Path(__file__).resolve().parents[1] / "docs" / "exit_codes.md").read_text()
    assert re.findall(r"^\| (\d+) \| (.*) \|$", page, re.MULTILINE) == [
        (str(code), text) for code, text in EXIT_CODES.items()
    ]


def test_every_kind_of_error_has_its_code() -> None:
    assert {kind.__name__: kind.exit_code for kind in KINDS} == {
        "RlvrError": 1,
        "ConfigError": 2,
        "DataError": 2,
        "ModelError": 2,
        "WorkerError": 3,
        "WeightUpdateError": 4,
        "VerifierError": 5,
        "TrainingError": 6,
        "CheckpointError": 7,
        "ResourceError": 8,
        "WorkerLostError": 3,
        "StoppedError": 1,
    }


@pytest.mark.parametrize(
    ("word", "hint"),
    [("learning_rat", "did you mean 'learning_rate'?"), ("zzz", "known: batch, learning_rate")],
)
def test_the_closest_known_word_or_all_of_them(word: str, hint: str) -> None:
    assert did_you_mean(word, ["learning_rate", "batch"]) == hint
