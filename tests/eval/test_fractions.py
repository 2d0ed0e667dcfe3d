"""Fractions of problems: what `rlvr perplexity` and `rlvr audit` have left is read, and its absence is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlvr.errors import ConfigError
from rlvr.eval.fractions import FRACTIONS
from rlvr.eval.perplexity import OWN, Perplexities, write_perplexities
from rlvr.eval.store import Evaluation
from rlvr.run_folder import AUDIT_FILE
from tests.fabricate import evaluation


@pytest.fixture
def models(tmp_path: Path) -> tuple[Evaluation, Evaluation]:
    base = evaluation(tmp_path / "base", "base", [0, 1, 4, 100], samples=100)
    return base, evaluation(tmp_path / "grpo", "grpo", [2, 0, 91, 90], samples=100)


def test_often_and_new_follow_from_the_counts(models: tuple[Evaluation, Evaluation]) -> None:
    assert FRACTIONS["often"](*models).tolist() == [0, 0, 1, 0]
    assert FRACTIONS["new"](*models).tolist() == [1, 0, 0, 0]


def test_likely_compares_medians_under_the_base(models: tuple[Evaluation, Evaluation]) -> None:
    base, grpo = models
    ids, sha = base.problem_ids, base.spec.model_sha256
    with pytest.raises(ConfigError, match="the base has not scored what 'base' wrote"):
        FRACTIONS["likely"](base, grpo)
    own = {ids[0]: [1.5, 1.2, 9.0], ids[1]: [2.0], ids[2]: [1.1]}
    write_perplexities(base.folder, [Perplexities(OWN, "base", sha, 3, own)])
    theirs = {ids[0]: [1.4], ids[1]: [2.0, 2.1, 2.2], ids[3]: [1.0]}
    under_itself = Perplexities(OWN, "grpo", grpo.spec.model_sha256, 3, {i: [1.0] for i in ids})
    write_perplexities(grpo.folder, [under_itself, Perplexities(OWN, "base", sha, 3, theirs)])
    np.testing.assert_array_equal(FRACTIONS["likely"](base, grpo), [1, 0, np.nan, np.nan])


def audited(evaluation: Evaluation, rows: list[dict[str, Any]]) -> None:
    audit = {
        "by": "people",
        "model_sha256": evaluation.spec.model_sha256,
        "problems_sha256": evaluation.spec.problems_sha256,
    }
    (evaluation.folder / AUDIT_FILE).write_text(json.dumps({**audit, "rows": rows}))


def test_valid_asks_for_one_valid_chain_on_each_of_the_hardest_problems(
    models: tuple[Evaluation, Evaluation],
) -> None:
    base, _ = models
    with pytest.raises(ConfigError, match="has not been judged on 2 of its 2 hardest problems"):
        FRACTIONS["valid"](base, base)
    hard, rare = base.problem_ids[2], base.problem_ids[1]
    rows = [{"problem": hard, "sample": i, "chain": i == 1, "answer": None, "note": ""} for i in range(4)] + [
        {"problem": rare, "sample": 0, "chain": False, "answer": None, "note": ""}
    ]
    audited(base, rows)
    np.testing.assert_array_equal(FRACTIONS["valid"](base, base), [np.nan, 0, 1, np.nan])


def test_reasoned_counts_problems_with_a_valid_right_answer(models: tuple[Evaluation, Evaluation]) -> None:
    base, grpo = models
    with pytest.raises(ConfigError, match="has not been judged on 183 of its 183 right answers"):
        FRACTIONS["reasoned"](base, grpo)
    rows = [
        {"problem": problem, "sample": i, "chain": problem != grpo.problem_ids[0], "answer": None, "note": ""}
        for problem, right in zip(grpo.problem_ids, grpo.num_correct.tolist(), strict=True)
        for i in range(right)
    ]
    audited(grpo, rows[1:])
    with pytest.raises(ConfigError, match="has not been judged on 1 of its 183 right answers"):
        FRACTIONS["reasoned"](base, grpo)
    audited(grpo, rows)
    # The first problem is solved twice, both times by luck; the second one never.
    np.testing.assert_array_equal(FRACTIONS["reasoned"](base, grpo), [0, 0, 1, 1])
