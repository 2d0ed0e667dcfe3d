"""Messages for users, and errors that travel between processes."""

from __future__ import annotations

import pickle

import pytest

from rlvr import errors
from rlvr.errors import ConfigError, RlvrError, did_you_mean

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


def test_exit_codes_are_the_documented_ones() -> None:
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
