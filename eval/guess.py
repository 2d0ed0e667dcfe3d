"""The guess filter: problems whose answer can be hit without reasoning, and the curves without them.

A base model that is asked to answer at once, without a chain of thought, solves some problems a few
times in a hundred by luck. At large k such a problem counts as solved, and the curve measures guessing. They are
left out, for all models alike, and the comparison is made again (arXiv 2504.13837, section 3; on
AIME24 it left 18 of 30 problems).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from rlvr.errors import ConfigError
from rlvr.eval.store import Evaluation

PLACE = re.compile(r"extraction=\w+,?")
"""The part of a verifier's identity that follows the prompt: where the answer is asked for."""
RARELY = 0.05
"""Accuracy without reasoning below which a problem that is solved at all is taken to be guessed."""


def guessable(guesses: Evaluation, rarely: float = RARELY) -> tuple[str, ...]:
    """Ids of the problems that are solved without reasoning, but in fewer than ``rarely`` of the samples.

    What is solved more often than that is known rather than guessed, and stays.
    """
    accuracy = guesses.num_correct / np.maximum(guesses.num_samples, 1)
    return tuple(
        problem_id
        for problem_id, share in zip(guesses.problem_ids, accuracy, strict=True)
        if 0 < share < rarely
    )


def without(evaluations: Sequence[Evaluation], left_out: Collection[str]) -> list[Evaluation]:
    """The same evaluations on the remaining problems.

    Raises:
        ConfigError: no problem remains.
    """
    kept = [i for i, problem_id in enumerate(evaluations[0].problem_ids) if problem_id not in left_out]
    if not kept:
        raise ConfigError(
            f"the guess filter would leave none of the {len(evaluations[0].problem_ids)} problems",
            fix="check the evaluation without reasoning, or report without guess=",
        )
    return [
        replace(
            each,
            problem_ids=tuple(each.problem_ids[i] for i in kept),
            num_correct=each.num_correct[kept],
            num_samples=each.num_samples[kept],
        )
        for each in evaluations
    ]


def refuse_other_guesses(base: Evaluation, guesses: Evaluation) -> None:
    """Check that the guesses are the base model's, on the same problems, prompted in another way.

    Raises:
        ConfigError: another model, other problems, another verifier, or the very same prompt.
    """
    where = f"{base.folder} and {guesses.folder}"
    for key in ("model_sha256", "problems_sha256", "verifier"):
        ours, theirs = (PLACE.sub("", str(getattr(each.spec, key))) for each in (base, guesses))
        if ours != theirs:
            raise ConfigError(
                f"the guess filter needs the base model's own guesses: {key} is {ours!r} against {theirs!r}",
                where=where,
                fix="evaluate the base model on the same problems with prompt=direct",
            )
    if guesses.spec.prompt_template == base.spec.prompt_template:
        raise ConfigError(
            f"the guesses were sampled with the same prompt as the rest, {base.spec.prompt_template}",
            where=where,
            fix="evaluate with prompt=direct, which asks for the answer alone",
        )
