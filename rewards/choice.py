"""Multiple choice and numeric answers, as for visual questions (MathVista, MathVision).

The ground truth is an option letter (``B``), or a number that is compared with a tolerance. An answer
to a multiple-choice question may be the letter (``B``, ``(b)``, ``B. seven``) or, where the problem lists
its options in ``extra_info["choices"]``, the option's own text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rlvr.errors import DataError
from rlvr.records import Problem, Status, Verdict
from rlvr.rewards.extract import final_answer, place_of_answer
from rlvr.rewards.math.numbers import close, plain_number
from rlvr.rewards.math.spelling import normalise, standard_characters

LETTER = re.compile(
    r"(?:(?:the )?(?:correct )?(?:answer|option|choice)(?: is)?:? )*\(?([A-Ja-j])(?:\)|\.|:|\s*$)(.*)",
    re.DOTALL | re.IGNORECASE,
)
ANOTHER = re.compile(
    r"\([A-Ja-j]\)|(?<![A-Za-z])[B-J](?![A-Za-z])|\b(?:or|and)\s+\(?[A-Ja-j]\b|^\W*[A-Ja-j]\W*$"
)
"""A second option behind a first one: who names two has chosen none."""
OPTION = re.compile(r"[A-J]")
MAX_ANSWER_CHARS = 300


class ChoiceVerifier:
    """Judges option letters and numbers."""

    def __init__(self, tolerance: float = 0.0, extraction: str = "any") -> None:
        """Args: relative tolerance of numbers, and where the answer stands (see extract.py)."""
        self.tolerance = tolerance
        self.extraction = extraction

    @property
    def identity(self) -> str:
        """Version and settings."""
        return f"choice/3(tolerance={self.tolerance},extraction={self.extraction})"

    @property
    def expects(self) -> str:
        """Where an answer must stand."""
        return f"as a letter or a number {place_of_answer(self.extraction)}"

    def verify(self, problem: Problem, response: str, finish_reason: str) -> Verdict:
        """Judge one response; one that was cut off has not answered."""
        answer = final_answer(response, self.extraction) if finish_reason == "stop" else None
        if answer is None or len(answer) > MAX_ANSWER_CHARS:
            return Verdict(0.0, Status.UNPARSED)
        plain = standard_characters(answer)
        text = re.sub(r"\\(?:text|mathrm|textbf|mathbf)\{([^{}]*)\}", r"\1", plain).strip(" $*.")
        gold = problem.ground_truth.strip()
        right = self._letter(problem, gold, text) if OPTION.fullmatch(gold) else self._number(gold, text)
        if right is None:
            return Verdict(0.0, Status.UNPARSED, answer)
        return Verdict(float(right), Status.CORRECT if right else Status.INCORRECT, answer)

    @staticmethod
    def _letter(problem: Problem, gold: str, text: str) -> bool | None:
        choices = [str(choice) for choice in problem.extra_info.get("choices") or []]
        stated = [index for index, choice in enumerate(choices) if _plain(choice) == _plain(text)]
        if stated:
            return "ABCDEFGHIJ"[stated[0]] == gold if len(stated) == 1 else None
        match = LETTER.fullmatch(text)
        if match is None:
            return None
        letter, rest = match.group(1).upper(), _plain(match.group(2))
        quoted = [index for index, choice in enumerate(choices) if rest and _plain(choice) == rest]
        if quoted:
            return letter == gold if "ABCDEFGHIJ".index(letter) in quoted else None
        return None if ANOTHER.search(match.group(2)) else letter == gold

    def _number(self, gold: str, text: str) -> bool | None:
        wanted, found = plain_number(normalise(gold)), plain_number(normalise(text))
        return None if wanted is None or found is None else close(wanted, found, self.tolerance)

    def check(self, problems: Sequence[Problem]) -> None:
        """Read every ground truth.

        Raises:
            DataError: the first that is neither an option letter nor a number, or beyond the options.
        """
        for problem in problems:
            gold, choices = problem.ground_truth.strip(), problem.extra_info.get("choices") or []
            letter = OPTION.fullmatch(gold)
            if not isinstance(choices, (list, tuple)):
                what, fix = f"choices is {choices!r:.40}", "a list of the options' texts"
            elif letter is None and plain_number(normalise(gold)) is None:
                what, fix = (
                    f"the ground truth {gold!r} is neither an option nor a number",
                    "a letter A to J, or a number",
                )
            elif letter and choices and "ABCDEFGHIJ".index(gold) >= len(choices):
                what, fix = f"option {gold} of only {len(choices)} choices", "correct the row"
            else:
                continue
            raise DataError(what, where=f"problem {problem.id}", fix=fix)

    def close(self) -> None:
        """Nothing to end."""


def _plain(text: str) -> str:
    return " ".join(text.lower().split()).strip(" .:")
