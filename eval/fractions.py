"""Fractions of a benchmark's problems that claims speak of: what holds for a problem, and for how many of them.

Each is a function of the base and of one model, which says for every problem 1 where it holds, 0 where it does not, and
nan where it cannot be asked. All but the first two read what `rlvr perplexity` or `rlvr audit` has left beside the
samples. What holds for a problem depends on the samples that were drawn, too; intervals over problems, which is what
claims get, contain that chance, since problems differ by it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rlvr.errors import ConfigError
from rlvr.eval.audit import hardest, read_audit, with_valid_chains
from rlvr.eval.pass_at_k import FloatArray
from rlvr.eval.perplexity import OWN, read_perplexities
from rlvr.eval.store import Evaluation

OFTEN = 0.9
"""Accuracy above which a problem stands in the last two bins of the histogram of accuracies."""

Fraction = Callable[[Evaluation, Evaluation], FloatArray]
"""(P,) of a model, given the base first: 1, 0 or nan for each problem."""


def often(base: Evaluation, model: Evaluation) -> FloatArray:
    """Solved in more than nine tenths of the samples: the right end of the histogram of accuracies."""
    return np.asarray(model.num_correct > OFTEN * model.num_samples, dtype=np.float64)


def new(base: Evaluation, model: Evaluation) -> FloatArray:
    """Solved in some sample of the model, and in none of the base."""
    return np.asarray((model.num_correct > 0) & (base.num_correct == 0), dtype=np.float64)


def likely(base: Evaluation, model: Evaluation) -> FloatArray:
    """The base finds the median response of the model at least as likely as its own median response.

    Raises:
        ConfigError: nothing has been scored.
    """
    ours, theirs = (_medians(each, base.spec.model_sha256) for each in (base, model))
    return np.array(
        [
            float(theirs[i] <= ours[i]) if i in ours and i in theirs else np.nan
            for i in base.problem_ids
        ]
    )  # fmt: skip


def _medians(evaluation: Evaluation, scorer_sha256: str) -> dict[str, float]:
    """By problem id the median perplexity of an evaluation's responses under the base."""
    for found in read_perplexities(evaluation.folder):
        if found.of == OWN and found.scorer_sha256 == scorer_sha256:
            return {problem: float(np.median(values)) for problem, values in found.values.items()}
    raise ConfigError(
        f"the base has not scored what {evaluation.name!r} wrote",
        where=str(evaluation.folder),
        fix="rlvr perplexity FOLDER, with the folder of the study",
    )


def valid(base: Evaluation, model: Evaluation) -> FloatArray:
    """Among the problems that the model solves in fewer than 5 % of its samples: one right answer at least has valid reasoning.

    Raises:
        ConfigError: nobody has judged the right answers to one of them.
    """
    audit = read_audit(model)
    rows = () if audit is None else audit.rows
    judged, sound = {row.problem for row in rows}, {row.problem for row in rows if row.chain}
    asked = set(hardest(model))
    if asked - judged:
        raise _not_judged(model, len(asked - judged), f"{len(asked)} hardest problems")
    return np.array([float(i in sound) if i in asked else np.nan for i in model.problem_ids])


def reasoned(base: Evaluation, model: Evaluation) -> FloatArray:
    """Solved in some sample with valid reasoning, so that what was hit by luck does not count: CoT-pass@k at the largest k.

    Raises:
        ConfigError: nobody has judged one of the model's right answers.
    """
    audit = read_audit(model)
    sound = None if audit is None else with_valid_chains(model, audit)
    if sound is None:
        missing = int(model.num_correct.sum()) - (0 if audit is None else len(audit.rows))
        raise _not_judged(model, missing, f"{int(model.num_correct.sum())} right answers")
    return np.asarray(sound.num_correct > 0, dtype=np.float64)


def _not_judged(model: Evaluation, count: int, asked: str) -> ConfigError:
    return ConfigError(
        f"the reasoning of {model.name!r} has not been judged on {count} of its {asked}",
        where=str(model.folder),
        fix="rlvr audit FOLDER, with the folder of the study",
    )


FRACTIONS: dict[str, Fraction] = {
    "often": often,
    "new": new,
    "likely": likely,
    "valid": valid,
    "reasoned": reasoned,
}
"""By the name that a condition has for them."""
