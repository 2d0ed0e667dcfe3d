"""Claims are decided at the error rate that they promise, in worlds whose truth is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from rlvr.errors import ConfigError
from rlvr.eval import claims
from rlvr.eval.claims import Condition, Decision, Effect, decide, effects_of
from rlvr.eval.statistics import Interval

SAMPLES = 32


@dataclass
class Counts:
    """As much of an evaluation as claims read."""

    name: str
    num_correct: Any

    @property
    def num_samples(self) -> Any:
        return np.full_like(self.num_correct, SAMPLES)


def drawn(name: str, accuracy: Any, rng: np.random.Generator) -> Any:
    return Counts(name, rng.binomial(SAMPLES, np.clip(accuracy, 0, 1)))


def decision(condition: str, evaluations: list[Any], **settings: Any) -> Decision:
    effects = effects_of(Condition.parse(condition, "claims.it"), evaluations, num_resamples=400, **settings)
    return decide({"it": effects})["it"].decision


def world(rng: np.random.Generator, shift: float) -> list[Any]:
    """A trained model that is right more often by ``shift`` on average, and by another amount on each problem."""
    accuracy = rng.uniform(0.35, 0.65, size=80)
    changed = accuracy + shift + rng.uniform(-0.2, 0.2, size=80)
    return [drawn("base", accuracy, rng), drawn("m0", changed, rng)]


@pytest.mark.parametrize(
    ("shift", "expected"),
    [(0.15, Decision.SUPPORTED), (-0.15, Decision.CONTRADICTED), (0.0, Decision.UNDECIDED)],
)
def test_each_decision_occurs_where_it_is_true(shift: float, expected: Decision) -> None:
    rng = np.random.default_rng(0)
    found = [decision("each@1 - base@1 > 0", world(rng, shift)) for _ in range(40)]
    assert found.count(expected) >= 36


def test_a_claim_that_is_just_false_is_seldom_supported_and_seldom_contradicted() -> None:
    rng = np.random.default_rng(1)
    found = [decision("each@1 - base@1 > 0", world(rng, 0.0)) for _ in range(200)]
    # Each side has 2.5 %; 200 studies see more than 12 of 5 expected ones once in a thousand times.
    assert found.count(Decision.SUPPORTED) <= 12
    assert found.count(Decision.CONTRADICTED) <= 12


def test_a_claim_about_each_model_needs_all_of_them() -> None:
    rng = np.random.default_rng(2)
    accuracy = rng.beta(1, 3, size=80)
    better, same, worse = (
        drawn(name, accuracy + shift, rng) for name, shift in (("a", 0.2), ("b", 0.0), ("c", -0.2))
    )
    base = drawn("base", accuracy, rng)
    assert decision("each@1 - base@1 > 0", [base, better]) is Decision.SUPPORTED
    assert decision("each@1 - base@1 > 0", [base, better, same]) is Decision.UNDECIDED
    assert decision("each@1 - base@1 > 0", [base, better, worse]) is Decision.CONTRADICTED


def test_margins_and_signs_are_heeded() -> None:
    rng = np.random.default_rng(3)
    evaluations = world(rng, 0.2)
    assert decision("m0@1 - base@1 > 0.05", evaluations) is Decision.SUPPORTED
    assert decision("m0@1 - base@1 < 0.05", evaluations) is Decision.CONTRADICTED
    assert decision("m0@1 - base@1 > 0.5", evaluations) is Decision.CONTRADICTED
    assert decision("base@n - each@1 > 0", evaluations) is Decision.SUPPORTED


def test_runs_of_several_seeds_count_as_one_mean_and_their_chance_counts() -> None:
    rng = np.random.default_rng(4)
    accuracy = rng.beta(1, 3, size=80)
    base = drawn("base", accuracy, rng)
    apart = [drawn(f"grpo-seed{i}", accuracy + shift, rng) for i, shift in enumerate((0.02, 0.2, 0.05))]
    effects, num_runs = effects_of(
        Condition.parse("each@1 - base@1 > 0", "it"), [base, *apart], num_resamples=400
    )
    assert [effect.model for effect in effects] == ["grpo"]
    assert num_runs == 3
    single, _ = effects_of(Condition.parse("each@1 - base@1 > 0", "it"), [base, apart[1]], num_resamples=400)
    [mean], [run] = effects, single
    assert mean.difference.high - mean.difference.low > 2 * (run.difference.high - run.difference.low)
    assert decision("each@1 - base@1 > 0", [base, *apart]) is Decision.UNDECIDED


def test_checkpoints_are_no_trained_models_of_their_own_but_can_be_named() -> None:
    rng = np.random.default_rng(5)
    accuracy = rng.beta(1, 3, size=80)
    evaluations = [
        drawn("base", accuracy, rng),
        drawn("grpo-step40", accuracy, rng),
        drawn("grpo", accuracy + 0.2, rng),
    ]
    assert decision("each@1 - base@1 > 0", evaluations) is Decision.SUPPORTED
    assert decision("grpo@1 - grpo-step40@1 > 0", evaluations) is Decision.SUPPORTED


def test_many_claims_are_adjusted_together() -> None:
    def found(p: float) -> Any:
        return (Effect("grpo", 1, Interval(0.1, 0.0, 0.2), p_against=p, p_for=1 - p),), 1

    assert decide({"alone": found(0.01)})["alone"].decision is Decision.SUPPORTED
    several = decide({str(i): found(0.01) for i in range(8)})
    assert {each.decision for each in several.values()} == {Decision.UNDECIDED}
    assert several["0"].p == pytest.approx(8 * 2 * 0.01)


def test_claims_that_are_still_to_come_count_so_that_none_is_taken_back() -> None:
    def found(p: float) -> Any:
        return (Effect("grpo", 1, Interval(0.1, 0.0, 0.2), p_against=p, p_for=1 - p),), 1

    early = decide({"0": found(0.01)}, num_claims=8)
    assert early["0"].decision is Decision.UNDECIDED
    assert early["0"].p == pytest.approx(8 * 2 * 0.01)
    others = {str(i): found(0.001) for i in range(1, 8)}
    late = decide({"0": found(0.01), **others}, num_claims=8)
    assert late["0"].p == pytest.approx(2 * 0.01)
    assert all(each.decision is Decision.SUPPORTED for each in late.values())


def test_of_many_just_false_claims_hardly_ever_one_is_decided() -> None:
    rng, condition = np.random.default_rng(6), Condition.parse("each@1 - base@1 > 0", "it")
    wrong = 0
    for _ in range(40):
        found = {str(i): effects_of(condition, world(rng, 0.0), num_resamples=400, seed=i) for i in range(8)}
        wrong += any(each.decision != Decision.UNDECIDED for each in decide(found).values())
    assert wrong <= 6  # of 2 expected at 5 %; more than 6 are seen once in two hundred times


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("each.often - base.often > 0", Decision.SUPPORTED),
        ("each.often > 0.3", Decision.SUPPORTED),
        ("each.often > 0.9", Decision.CONTRADICTED),
        ("each.often < 0.9", Decision.SUPPORTED),
        ("each.new < 0.1", Decision.SUPPORTED),
        ("each.new > 0.1", Decision.CONTRADICTED),
        ("each.often > 0.5", Decision.UNDECIDED),
        ("m0.often - m0.often > 0", Decision.UNDECIDED),
    ],
)
def test_fractions_of_problems_decide_where_their_truth_is_known(condition: str, expected: Decision) -> None:
    base = Counts("base", np.repeat([16, 0, 0], [194, 3, 3]))
    trained = Counts(
        "m0", np.repeat([32, 1, 0], [100, 97, 3])
    )  # half of the problems nearly always, 3 new ones
    assert decision(condition, [base, trained]) is expected


def test_a_fraction_of_what_only_some_problems_have_is_a_fraction_of_these(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hits = np.repeat([1.0, 0.0, np.nan], [30, 10, 160])
    monkeypatch.setitem(claims.FRACTIONS, "often", lambda base, model: hits)
    base: Any = Counts("base", np.zeros(200, int))
    [effect], _ = effects_of(Condition.parse("base.often > 0.5", "it"), [base], num_resamples=400)
    assert effect.difference.estimate == 0.75
    assert 0.55 < effect.difference.low < 0.7
    assert 0.8 < effect.difference.high < 0.95
    assert (effect.model, effect.k) == ("base", None)


def test_problems_that_were_not_drawn_are_not_taken_for_unsolvable() -> None:
    """A trained model solves 5 % of all problems, so the claim is just false, and often none of 45 that are drawn."""
    rng = np.random.default_rng(7)
    found = []
    for _ in range(400):
        solved = np.where(rng.random(45) < 0.05, SAMPLES, 0)
        found.append(
            decision("each@n - base@n < 0.05", [Counts("base", np.zeros(45, int)), Counts("m0", solved)])
        )
    # None is solved in a tenth of the samples, and the bootstrap alone would call all of those supported.
    assert found.count(Decision.SUPPORTED) <= 20
    assert found.count(Decision.CONTRADICTED) <= 20


@pytest.mark.parametrize(("num_problems", "expected"), [(45, Decision.UNDECIDED), (90, Decision.SUPPORTED)])
def test_a_sample_without_any_hit_decides_as_far_as_its_size_allows(
    num_problems: int, expected: Decision
) -> None:
    none: Any = [Counts(name, np.zeros(num_problems, int)) for name in ("base", "m0")]
    condition = Condition.parse("each@n - base@n < 0.05", "it")
    effects, runs = effects_of(condition, none, num_resamples=400)
    assert decide({"it": (effects, runs)})["it"].decision is expected
    exact = 1 - 0.025 ** (1 / num_problems)  # Clopper and Pearson, two-sided at 95 %, for 0 of n
    [effect] = effects
    assert effect.difference.low == pytest.approx(-exact)
    assert effect.difference.high == pytest.approx(exact)
    assert effect.p_against == pytest.approx(max(1 / 401, 0.95**num_problems))


def test_runs_of_several_seeds_have_a_mean_of_fractions() -> None:
    base: Any = Counts("base", np.full(100, 16))
    runs: list[Any] = [
        Counts(f"grpo-seed{i}", np.repeat([32, 0], [half, 100 - half])) for i, half in enumerate((40, 60, 50))
    ]
    [effect], num_runs = effects_of(Condition.parse("each.often > 0", "it"), [base, *runs], num_resamples=400)
    assert (effect.model, num_runs) == ("grpo", 3)
    assert effect.difference.estimate == pytest.approx(0.5)
    assert effect.difference.low < 0.35


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("each.oftn > 0.5", "did you mean 'often'"),
        ("each.often - base@1 > 0", "compares a pass@k with a fraction"),
    ],
)
def test_conditions_that_mean_nothing_are_refused(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Condition.parse(text, "claims.it.condition")


@pytest.mark.parametrize("text", ["each@1 > base@1", "each - base > 0", "each@1 - base@1 = 0", ""])
def test_what_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is no condition"):
        Condition.parse(text, "claims.it.condition")


@pytest.mark.parametrize(
    ("text", "words"), [("ppo@1 - base@1 > 0", "no model 'ppo'"), ("each@3 - base@1 > 0", "no pass@3")]
)
def test_conditions_about_what_is_not_there_are_refused(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        decision(text, world(np.random.default_rng(7), 0.0))
