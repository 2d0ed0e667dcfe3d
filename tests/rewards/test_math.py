"""Mathematical answers: every pair with its verdict, hostile ones, ground truths, policies."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlvr.errors import ConfigError, DataError
from rlvr.records import Problem, Status
from rlvr.rewards.config import MathConfig
from rlvr.rewards.extract import final_answer, last_boxed, program
from rlvr.rewards.math.numbers import plain_number
from rlvr.rewards.math.spelling import normalise
from rlvr.rewards.math.verifier import MathVerifier

YES, NO = Status.CORRECT, Status.INCORRECT
TOWER = "9^{9^{9^9}}"
MATRIX = r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}"


@pytest.fixture(scope="module")
def verifier() -> Iterator[MathVerifier]:
    with MathVerifier() as made:
        yield made


def judge(verifier: MathVerifier, gold: str, response: str, finish_reason: str = "stop") -> Status:
    return verifier.verify(Problem("p", (), "d", gold), response, finish_reason).status


PAIRS = [
    ("1/3", "0.333", NO),
    ("1/2^{99}", "1/2^{98}", NO),
    ("1/2004!", "1/2006!", NO),
    ("7", "8 = 7", NO),
    ("204", "m+n=204", YES),
    ("east", "seat", NO),
    (r"\text{Evelyn}", "Evelyn", YES),
    (r"5\text{ cm}", r"5\text{ m}", NO),
    ("(1,2)", "[1,2]", NO),
    ("1<x<2", "(1,2)", YES),
    ("1,2", "(1,2)", NO),
    (r"\{1,2,3\}", r"\{3,2,1\}", YES),
    ("1,2,3", "1,2", NO),
    (r"\pm2", "2", NO),
    (MATRIX, "(1,2)", YES),
    (r"e^{i\pi}", "-1", YES),
    (r"10\%", r"10 \%", YES),
    ("1000", r"1\,000", YES),
    (r"\text{No solution}", r"\emptyset", YES),
    # numbers in bold, as competitions print their answers
    ("113", r"\textbf{(113) }", YES),
    ("127", r"\mathbf{127}", YES),
    ("113", r"\textbf{(114)}", NO),
    ("12", r"\textbf{(1,2)}", NO),
    # further ones of the same kinds
    ("1000", "1,000", YES),
    ("1000", r"1{,}000", YES),
    ("1000", "1000.", YES),
    ("1234567", "1,234,567", YES),
    ("7", "7 = 7", YES),
    ("7", "2 + 5 = 7", YES),
    ("7", "x = 8 = 7", NO),
    ("1/2", "0.5", YES),
    ("1/2", ".5", YES),
    (r"\frac12", r"\dfrac{1}{2}", YES),
    (r"\frac{3}{2}", r"1\frac{1}{2}", YES),
    ("-1/2", r"-\frac{1}{2}", YES),
    ("-1/2", r"\frac{1}{2}", NO),
    (r"\frac{\sqrt2}{2}", r"\frac{1}{\sqrt{2}}", YES),
    ("2^{100}", "2^{100}+1", NO),
    ("1.0000000001", "1", NO),
    (r"\pi", "3.14159", NO),
    (r"\pi", r"\frac{22}{7}", NO),
    ("x^2-1", "(x-1)(x+1)", YES),
    ("x^2-1", "(x-1)(x-1)", NO),
    ("x", "y", NO),
    ("x", r"\sqrt{x^2}", NO),
    ("5", "x=5", YES),
    ("x=5", "5", YES),
    ("x=5", "y=5", NO),
    ("y=2x+1", "2x+1", YES),
    ("x+y=3", "2x+2y=6", YES),
    ("x+y=3", "3", NO),
    ("x>2", "2<x", YES),
    ("x>2", r"x\ge 2", NO),
    ("x>2", r"(2,\infty)", YES),
    (r"x \in [1,2)", r"1 \le x < 2", YES),
    ("[1,2)", "(1,2]", NO),
    (r"(-\infty,3)\cup(5,6)", r"x\in(5,6)\cup(-\infty,3)", YES),
    (r"\pm2", "2,-2", YES),
    (r"1\pm\sqrt2", r"1-\sqrt2, 1+\sqrt2", YES),
    ("3,-2", r"-2\text{ and }3", YES),
    ("1,1,2", "1,2,2", NO),
    ("(1,2)", "(2,1)", NO),
    ("(x,y)=(1,2)", "(1,2)", YES),
    (MATRIX, r"\begin{pmatrix} 2 \\ 1 \end{pmatrix}", NO),
    (MATRIX, r"\begin{pmatrix} 1 & 2 \end{pmatrix}", NO),
    ("1 + 2i", "2i+1", YES),
    ("1 + 2i", "1 - 2i", NO),
    ("-1", "i^2", YES),
    (r"\text{(A)}", "A", YES),
    (r"\text{Yes}", r"\text{no}", NO),
    (r"5\text{ cm}", "5", YES),
    ("5", r"5\text{ cm}", YES),
    (r"5\text{ cm}", "5 centimeters", YES),
    (r"5\text{ cm}^2", r"5\text{ cm}", NO),
    (r"\$5", "5", YES),
    (r"45^\circ", "45", YES),
    ("10^{-3}", "0.001", YES),
    (r"2 \times 10^{3}", "2000", YES),
    (r"\ln 4", r"2\ln 2", YES),
    ("7", r"\text{seven}", NO),
    ("7", "7x", NO),
    ("7", r"\emptyset", NO),
    ("7", "(7)", YES),
]  # fmt: skip


@pytest.mark.parametrize(("gold", "answer", "status"), PAIRS)
def test_pairs(verifier: MathVerifier, gold: str, answer: str, status: Status) -> None:
    assert judge(verifier, gold, rf"So we get \boxed{{{answer}}}.") is status


@pytest.mark.parametrize(
    ("gold", "response", "status"),
    [
        ("7", r"\boxed{3} no wait \boxed{7}", YES),
        ("3", r"\boxed{3} no wait \boxed{7}", NO),
        ("7", "We get 3, 5, 7", Status.UNPARSED),
        ("7", r"\boxed{7", Status.UNPARSED),
        ("7", r"\boxed{}", Status.UNPARSED),
        ("7", r"\boxed{x = \boxed{7}}", YES),
        (r"\frac{1}{2}", r"\boxed{\frac{1}{2}}", YES),
        (r"\frac{1}{2}", r"$\boxed\frac12$", YES),
        (r"\frac{\pi}{2}", r"$\boxed \frac{\pi}{2}$, and no more", YES),
        (r"-\sqrt2", r"\(\boxed-\sqrt2 \)", YES),
        (r"\frac{1}{2}", r"\boxed\frac{1}{2}", YES),
        (r"\frac{1}{2}", r"\boxed\quad no $x$", Status.UNPARSED),
        (r"\{1,2\}", r"\boxed{\{1,2\}}", YES),
        ("7", "<answer> 7 </answer>", YES),
        ("7", "<answer>3</answer> <answer>7</answer>", YES),
        ("7", "7 is it\n#### 7", YES),
        ("7", "#### 7\nand then 8", YES),
        ("7", "7", Status.UNPARSED),
    ],
)
def test_where_the_answer_stands(verifier: MathVerifier, gold: str, response: str, status: Status) -> None:
    assert judge(verifier, gold, response) is status


def test_a_response_that_was_cut_off_has_not_answered(verifier: MathVerifier) -> None:
    assert judge(verifier, "7", r"\boxed{7}", "length") is Status.UNPARSED


@pytest.mark.parametrize(
    "answer",
    [
        TOWER,
        "(10^9)!",
        "2^{" * 10 + "9" + "}" * 10,
        r"\binom{10^9}{10^8}",
        r"\sum_{n=1}^{10^9} \frac{1}{n}",
        "(" * 450 + "7" + ")" * 450,
        r"\sqrt{" * 140 + "7" + "}" * 140,
        r"\frac{" * 160,
        "{" * 900,
        r"\left(" * 150,
        "1 " * 490,
        "a1 " * 330,
        "9" * 990,
        "7" * 1_000_000,
        "\\boxed{" * 100_000,
        "\x00\ud7ff\U0001f600",
    ],
)
def test_hostile_answers_cost_their_deadline_only(verifier: MathVerifier, answer: str) -> None:
    for gold in ("7", r"\sqrt{2}+x"):
        assert judge(verifier, gold, rf"\boxed{{{answer}}}") in (NO, Status.UNPARSED, Status.TIMEOUT)
    assert judge(verifier, r"\frac{\pi}{2}", r"\boxed{\pi/2}") is YES


@pytest.mark.parametrize("gold", [TOWER, "(10^9)!"])
def test_a_hostile_ground_truth_equals_itself_and_nothing_else(verifier: MathVerifier, gold: str) -> None:
    assert judge(verifier, gold, rf"\boxed{{{gold}}}") is YES
    assert judge(verifier, gold, r"\boxed{7}") in (NO, Status.TIMEOUT)


def test_a_killed_worker_is_replaced_and_its_request_answered() -> None:
    with MathVerifier() as verifier:
        assert judge(verifier, "x+1", r"\boxed{1+x}") is YES
        [worker] = verifier.workers
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
        assert judge(verifier, "x+2", r"\boxed{2+x}") is YES
        assert worker.num_starts == 2


def test_a_stuck_worker_is_killed_at_its_deadline() -> None:
    with MathVerifier(MathConfig(wall_seconds=0.5)) as verifier:
        assert judge(verifier, "x+1", r"\boxed{1+x}") is YES
        [worker] = verifier.workers
        assert worker.pid is not None
        stuck = worker.pid
        os.kill(stuck, signal.SIGSTOP)
        assert judge(verifier, "x+2", r"\boxed{2+x}") is Status.TIMEOUT
        assert not os.path.exists(f"/proc/{stuck}")  # noqa: PTH110


def test_memory_is_bounded() -> None:
    with MathVerifier(MathConfig(memory_mib=700)) as verifier:
        assert judge(verifier, "x+1", r"\boxed{1+x}") is YES
        [worker] = verifier.workers
        limits = Path(f"/proc/{worker.pid}/limits").read_text()
        [line] = [line for line in limits.splitlines() if line.startswith("Max address space")]
        assert line.split()[3:5] == [str(700 * 2**20)] * 2


def test_closing_leaves_no_process() -> None:
    with MathVerifier(num_workers=2) as verifier:
        assert judge(verifier, "x+1", r"\boxed{1+x}") is YES
        pids = [worker.pid for worker in verifier.workers if worker.pid]
    assert pids
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)  # noqa: PTH110


@pytest.mark.parametrize(
    ("settings", "gold", "answer", "status"),
    [
        ({"decimal_tolerance": 1e-2}, "1/3", "0.333", YES),
        ({"decimal_tolerance": 1e-2}, "0.333", "1/3", YES),
        ({"decimal_tolerance": 1e-2}, r"\pi", "3.14", YES),
        ({"decimal_tolerance": 1e-2}, "100", "101", NO),
        ({"units": "required"}, r"5\text{ cm}", "5", NO),
        ({"units": "required"}, r"5\text{ cm}", r"5\text{cm}", YES),
        ({"units": "ignored"}, r"5\text{ cm}", r"5\text{ m}", YES),
        ({}, r"10\%", "0.1", NO),
        ({"percent": "value"}, r"10\%", "0.1", YES),
        ({"percent": "value"}, r"10\%", "10", NO),
        ({}, r"\frac{\pi}{6}", r"30^\circ", NO),
        ({"degrees": "radians"}, r"\frac{\pi}{6}", r"30^\circ", YES),
        ({}, "4210_5", "4210", YES),
        ({}, "4210_{5}", "4210_6", NO),
        ({"bases": "required"}, "4210_5", "4210", NO),
        ({"bases": "ignored"}, "4210_5", "4210_6", YES),
    ],
)
def test_policies(settings: dict[str, object], gold: str, answer: str, status: Status) -> None:
    config = MathConfig(**settings)  # type: ignore[arg-type]
    with MathVerifier(config) as verifier:
        assert judge(verifier, gold, rf"\boxed{{{answer}}}") is status
        for key, value in settings.items():
            assert f"{key}={value}" in verifier.identity


@pytest.mark.parametrize("gold", ["", " ", "$$", r"\boxed{}"])
def test_an_empty_ground_truth_is_refused_by_problem(verifier: MathVerifier, gold: str) -> None:
    good = Problem("set/train/0", (), "set", "7")
    with pytest.raises(DataError) as caught:
        verifier.check([good, Problem("set/train/1", (), "set", gold)])
    assert caught.value.where == "problem set/train/1"


@pytest.mark.parametrize(
    "gold",
    [
        "(1,2",
        r"\frac{",
        "{" * 50,
        r"\frac{1}{0}",
        r"\{ x \colon 2 \mid x \}",
        "a function that grows as fast as $2^n$",
    ],
)
def test_a_ground_truth_without_a_meaning_is_compared_as_text(verifier: MathVerifier, gold: str) -> None:
    verifier.check([Problem("set/train/0", (), "set", gold)])
    assert verifier.as_text(gold)
    assert verifier.compare(gold, f" {gold} ")[0] is YES
    assert verifier.compare(gold, f"{gold} + 1") == (NO, True)


def test_a_verdict_says_whether_it_compared_texts(verifier: MathVerifier) -> None:
    gold = r"\{ x \colon 2 \mid x \}"
    verdict = verifier.verify(Problem("p", (), "d", gold), r"\boxed{\{ x \colon 3 \mid x \}}", "stop")
    assert (verdict.status, verdict.as_text) == (NO, True)
    assert not verifier.verify(Problem("p", (), "d", r"\sqrt{2}"), r"\boxed{2}", "stop").as_text


@pytest.mark.parametrize(
    ("key", "value"),
    [("extraction", "last"), ("units", "no"), ("decimal_tolerance", 2.0), ("cpu_seconds", 0)],
)
def test_a_wrong_setting_is_refused_by_key(key: str, value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        MathConfig(**{key: value})  # type: ignore[arg-type]
    assert caught.value.where == f"rewards.math.{key}"


@pytest.mark.parametrize(
    "text", ["7", "-7", "+7", "007", "1,000", "7.50", "3/4", r"-\frac{3}{4}", "0.333", ".5", "1000.0"]
)
@pytest.mark.parametrize(
    "other", ["7", "1000", "7.5", "0.75", "-0.75", "1/3", r"\frac{333}{1000}", "1/2", "-7"]
)
def test_the_fast_path_says_what_algebra_says(verifier: MathVerifier, text: str, other: str) -> None:
    quick = verifier.compare_quickly(text, other)
    assert quick is not None
    # In parentheses a number is no plain number any more, and goes the long way.
    slow, _ = verifier.compare(f"({normalise(text)})+x", f"({normalise(other)})+x")
    assert slow is (YES if quick else NO)


@pytest.mark.parametrize(
    "text", ["", ".", "-", "1e3", "1,00", "٤٢", "4²", "1/0", "1 000", "x", "0x10", "1_000", "7" * 500]
)
def test_what_is_no_plain_number(text: str) -> None:
    assert plain_number(text) is None


def test_extraction_is_linear_in_hostile_text() -> None:
    for piece in ("\\boxed{", "{", "}", "<answer>", "</answer>", "####", "```\n", "\\", "\\boxed\\pi "):
        text = piece * (1_000_000 // len(piece))
        last_boxed(text)
        final_answer(text, "any")
        program(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("```python\nx = 1\n```", "x = 1\n"),
        ("First\n```python\nx = 1\n```\nbetter\n```python\nx = 2\n```\nDone.", "x = 2\n"),
        ("```\nx = 1\n```\nIt prints\n```text\n1\n```", "x = 1\n"),
        ("x = 1", "x = 1"),
        ("```python\nx = 1", None),
        ("", None),
        ("```python\n```", None),
    ],
)
def test_programs_are_found(text: str, found: str | None) -> None:
    assert program(text) == found
