"""Which verifier judges which problems, by their ability and style."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from rlvr.errors import DataError, did_you_mean
from rlvr.protocols import Verifier
from rlvr.records import Problem, Verdict
from rlvr.rewards.choice import ChoiceVerifier
from rlvr.rewards.code import LIVECODEBENCH, CodeVerifier
from rlvr.rewards.config import RewardsConfig
from rlvr.rewards.final_answer import INTEGERS, FinalAnswerVerifier, normalised
from rlvr.rewards.function import FunctionVerifier
from rlvr.rewards.math.verifier import MathVerifier
from rlvr.rewards.pool import VerifierPool
from rlvr.rewards.process import ProcessVerifier


class CheckingVerifier(Verifier, Protocol):
    """A verifier that can also check the ground truths it will be asked about."""

    def check(self, problems: Sequence[Problem]) -> None:
        """Raise a DataError for the first ground truth that it cannot use."""

    def close(self) -> None:
        """End its processes."""


class ArithmeticVerifier:
    """Generated chains: the final integers, or the steps to it as well (rewards.process)."""

    def __init__(self, config: RewardsConfig) -> None:
        """Choose by the mix."""
        self._steps = None if config.process.mix == "outcome" else ProcessVerifier(config.process)
        self._verifier: Verifier = self._steps or FinalAnswerVerifier()
        self.identity, self.expects = self._verifier.identity, self._verifier.expects

    def verify(self, problem: Problem, response: str, finish_reason: str) -> Verdict:
        """Judge one response."""
        return self._verifier.verify(problem, response, finish_reason)

    def check(self, problems: Sequence[Problem]) -> None:
        """Refuse a ground truth that is not made of integers, or has no solution graph where one is needed."""
        for problem in problems:
            if not INTEGERS.fullmatch(problem.ground_truth):
                raise DataError(
                    f"no verifier for ground truth {problem.ground_truth!r} of ability 'arithmetic'",
                    where=f"problem {problem.id}",
                    fix="ground_truth must be an integer, or several with spaces between; for others the ability is 'math'",
                )
        if self._steps is not None:
            self._steps.check(problems)

    def close(self) -> None:
        """Nothing to end."""


VERIFIERS: dict[str, Callable[[RewardsConfig], CheckingVerifier]] = {
    "arithmetic": ArithmeticVerifier,
    "math": lambda config: MathVerifier(config.math, config.num_workers),
    "code": lambda config: CodeVerifier(config.sandbox),
    "livecodebench": lambda config: CodeVerifier(config.sandbox, LIVECODEBENCH),
    "choice": lambda config: ChoiceVerifier(config.choice_tolerance, config.math.extraction),
}
"""By ``Problem.ability``."""


class MixedVerifier:
    """Problems of several abilities in one data set, each judged by its own verifier."""

    def __init__(self, verifiers: Mapping[str, CheckingVerifier]) -> None:
        """Take one verifier per ability."""
        self.verifiers = verifiers

    @property
    def identity(self) -> str:
        """Those of all."""
        return " + ".join(self.verifiers[name].identity for name in sorted(self.verifiers))

    @property
    def expects(self) -> str:
        """By the abilities of the problems."""
        return "; ".join(f"for {name} {self.verifiers[name].expects}" for name in sorted(self.verifiers))

    def verify(self, problem: Problem, response: str, finish_reason: str) -> Verdict:
        """Judge one response by its problem's verifier."""
        return self.verifiers[problem.ability].verify(problem, response, finish_reason)

    def close(self) -> None:
        """End all."""
        for verifier in self.verifiers.values():
            verifier.close()


def verifier_for(problems: Sequence[Problem], config: RewardsConfig | None = None) -> Verifier:
    """The verifier of a data set, once it has read every ground truth.

    Raises:
        DataError: a ground truth that no verifier can check, named by problem.
        ConfigError: programs are to be run and this machine cannot hold them; or a function of the user's fails.
    """
    config = config or RewardsConfig()
    if config.function is not None:
        verifier = FunctionVerifier(config.function)
        if problems:
            verifier.try_out(problems[0])
        return verifier
    by_ability: dict[str, list[Problem]] = {}
    for problem in problems:
        refuse_unknown(problem)
        by_ability.setdefault(problem.ability, []).append(problem)
    made: dict[str, CheckingVerifier] = {}
    try:
        for ability, members in by_ability.items():
            made[ability] = VERIFIERS[ability](config)
            made[ability].check(members)
    except BaseException:
        MixedVerifier(made).close()
        raise
    return MixedVerifier(made) if len(made) != 1 else next(iter(made.values()))


def faults(problems: Sequence[Problem], config: RewardsConfig) -> dict[str, DataError]:
    """Problems whose ground truth no verifier could use, by id.

    Raises:
        ConfigError: programs are to be run and this machine cannot hold them.
    """
    found: dict[str, DataError] = {}
    made: dict[str, CheckingVerifier] = {}
    if config.function is not None:
        return found
    try:
        for problem in problems:
            try:
                refuse_unknown(problem)
                if problem.ability not in made:
                    made[problem.ability] = VERIFIERS[problem.ability](config)
                made[problem.ability].check([problem])
            except DataError as error:
                found[problem.id] = error
    finally:
        MixedVerifier(made).close()
    return found


def compared_as_text(problems: Sequence[Problem], config: RewardsConfig) -> dict[str, str]:
    """Problems whose ground truth has no meaning that the verifier knows, by id, and why: only equal texts are right."""
    if config.function is not None:
        return {}
    with MathVerifier(config.math) as verifier:
        reasons = {
            problem.id: verifier.as_text(problem.ground_truth)
            for problem in problems
            if problem.ability == "math"
        }
    return {problem_id: reason for problem_id, reason in reasons.items() if reason is not None}


def refuse_unknown(problem: Problem) -> None:
    """Raise a DataError for a problem that no verifier is made for."""
    if problem.style != "rule" or problem.ability not in VERIFIERS:
        raise DataError(
            f"no verifier for ability {problem.ability!r} and style {problem.style!r}",
            where=f"problem {problem.id}",
            fix="reward_model.style must be 'rule'; ability: " + did_you_mean(problem.ability, VERIFIERS),
        )


def verifier_pool(problems: Sequence[Problem], config: RewardsConfig) -> VerifierPool:
    """The verifier of a data set, judging beside its caller. To be closed.

    Raises:
        DataError, ConfigError: as for :func:`verifier_for`.
    """
    return VerifierPool(verifier_for(problems, config), config.num_workers)


def chance_level(problems: Sequence[Problem]) -> float:
    """Probability that a blind guess, drawn from the answers' own distribution, is right.

    The share of pairs of problems with the same answer: unbiased also for small sets, where
    the share of the commonest answer would be too high. 0 for a single problem.
    """
    counts = Counter(
        normalised(problem.ground_truth)
        if INTEGERS.fullmatch(problem.ground_truth)
        else problem.ground_truth.strip()
        for problem in problems
    )
    pairs = len(problems) * (len(problems) - 1)
    return sum(count * (count - 1) for count in counts.values()) / pairs if pairs else 0.0
