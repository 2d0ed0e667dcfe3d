"""Perplexity: how likely one model finds what another one wrote (arXiv 2504.13837, section 3.3).

    PPL_m(Y | x) = exp(−(1/T) Σ_t log P_m(y_t | x, y_<t))                            (1)

for a response Y of T tokens to a prompt x, under model m at temperature 1. If the base finds
the trained model's responses as likely as its own best ones, they lay within what it could write
already. Responses are kept as text and tokenized anew here, the end of a finished one included.

A problem counts once: the median over its responses, then the mean over problems, with an
interval over problems. Results lie beside the responses, in ``perplexity.json``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from rlvr.errors import DataError
from rlvr.eval.bootstrap import NUM_RESAMPLES, draw_problems
from rlvr.eval.pass_at_k import FloatArray
from rlvr.eval.statistics import LEVEL, Interval
from rlvr.eval.store import Evaluation
from rlvr.files import write_json
from rlvr.protocols import Probe
from rlvr.records import Problem, Status
from rlvr.run_folder import PERPLEXITY_FILE

NUM_RESPONSES = 32
"""Responses per problem (arXiv 2504.13837, Figure 6)."""
OWN, REFERENCE = "own", "reference"
BATCH = 64
"""Sequences scored in one call: progress shows after each."""

Score = Callable[[Sequence[Probe]], list[list[float]]]
"""Log-probabilities, at temperature 1, of each probe's response tokens."""


@dataclass(frozen=True, slots=True)
class Text:
    """A response to be scored."""

    problem: str
    text: str
    ended: bool
    """Whether the model ended it itself; then the end is scored too."""


@dataclass(frozen=True, slots=True)
class Perplexities:
    """One model's perplexity of one kind of responses."""

    of: str
    """``own``: the responses beside which this lies; ``reference``: given solutions."""
    scorer: str
    """Name of the model that scored."""
    scorer_sha256: str
    num_responses: int
    """Per problem, at most."""
    values: dict[str, list[float]]
    """By problem id, one per response."""

    def medians(self) -> FloatArray:
        """(P,) median over the responses of each problem."""
        return np.array([np.median(each) for each in self.values.values()])

    def mean(self, seed: int = 0, level: float = LEVEL) -> Interval:
        """Mean over problems of the medians, with a bootstrap interval over problems."""
        medians = self.medians()
        times_pb = draw_problems(len(medians), NUM_RESAMPLES, np.random.default_rng(seed))
        means_b = medians @ times_pb / len(medians)
        low, high = np.quantile(means_b, [(1 - level) / 2, (1 + level) / 2])
        return Interval(float(medians.mean()), float(low), float(high))


def perplexity(logprobs: Sequence[float]) -> float:
    """Equation (1) for one response; an impossible token makes it infinite."""
    return math.exp(min(-sum(logprobs) / len(logprobs), 700.0))


def responses_of(evaluation: Evaluation, num_responses: int = NUM_RESPONSES) -> list[Text]:
    """The first responses to each problem by sample index, right or wrong."""
    found: dict[str, dict[int, Text]] = {problem_id: {} for problem_id in evaluation.problem_ids}
    for sample in evaluation.samples():
        if sample.sample < num_responses and sample.status is not Status.ERROR:
            text = Text(sample.problem, sample.text, sample.finish_reason == "stop")
            found[sample.problem][sample.sample] = text
    return [each[index] for each in found.values() for index in sorted(each)]


def read_references(path: Path, problems: Sequence[Problem]) -> list[Text]:
    """Given solutions from a JSONL file with ``problem`` (an id) and ``response``.

    Raises:
        DataError: a malformed row, or an unknown problem; by file and line.
    """
    known, found = {problem.id for problem in problems}, []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            problem, text = row["problem"], row["response"]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"not a reference response: {error!r}",
                where=f"{path}:{number}",
                fix='{"problem": ID, "response": TEXT}',
            ) from error
        if problem not in known:
            raise DataError(f"there is no problem {problem!r}", where=f"{path}:{number}", fix="check the id")
        found.append(Text(problem, str(text), ended=True))
    return found


def score_texts(
    texts: Sequence[Text],
    prompts: Mapping[str, Sequence[int]],
    encode: Callable[[str], list[int]],
    end: int,
    score: Score,
    on_progress: Callable[[int], None] = lambda _: None,
) -> dict[str, list[float]]:
    """The perplexity of every text, by problem id.

    Args:
        texts: responses.
        prompts: prompt tokens by problem id.
        encode: tokens of a response.
        end: token that ends a response.
        score: the model.
        on_progress: called with the number of responses done.
    """
    values: dict[str, list[float]] = {}
    done = 0
    for batch in batches(texts):
        probes = [probe_of(text, prompts[text.problem], encode, end) for text in batch]
        kept = [
            (text, probe)
            for text, probe in zip(batch, probes, strict=True)
            if len(probe.tokens) > probe.prompt_length
        ]
        for (text, _), logprobs in zip(kept, score([probe for _, probe in kept]), strict=True):
            values.setdefault(text.problem, []).append(perplexity(logprobs))
        done += len(batch)
        on_progress(done)
    return values


def probe_of(text: Text, prompt: Sequence[int], encode: Callable[[str], list[int]], end: int) -> Probe:
    """Prompt and response as one sequence."""
    return Probe([*prompt, *encode(text.text), *([end] if text.ended else [])], len(prompt))


def batches(texts: Sequence[Text]) -> Iterator[Sequence[Text]]:
    """Texts in the order of their problems, so that neighbours share a prompt."""
    for start in range(0, len(texts), BATCH):
        yield texts[start : start + BATCH]


def write_perplexities(folder: Path, found: Sequence[Perplexities]) -> None:
    """Keep results beside the responses."""
    write_json(folder / PERPLEXITY_FILE, [asdict(each) for each in found])


def read_perplexities(folder: Path) -> list[Perplexities]:
    """The results beside an evaluation's responses; empty where there are none.

    Raises:
        DataError: the file is malformed.
    """
    path = folder / PERPLEXITY_FILE
    if not path.exists():
        return []
    try:
        return [Perplexities(**row) for row in json.loads(path.read_text(encoding="utf-8"))]
    except (ValueError, TypeError) as error:
        raise DataError(
            f"malformed perplexities: {error}",
            where=str(path),
            fix="delete it and run `rlvr perplexity` again",
        ) from error


@dataclass(frozen=True, slots=True)
class Scored:
    """One kind of responses under one model."""

    written_by: str
    """Name of the model, or ``reference``."""
    found: Perplexities
    quartiles: Interval
    """Median over problems of the medians over responses, with the quartiles."""
    mean: Interval
    """Mean over problems, with its interval."""


def scored(written: Sequence[tuple[str, Sequence[Perplexities]]]) -> tuple[Scored, ...]:
    """What `rlvr perplexity` has found, by the name of the model that wrote; reference solutions last."""
    rows = []
    for name, scores in written:
        for found in scores:
            low, middle, high = (float(q) for q in np.quantile(found.medians(), [0.25, 0.5, 0.75]))
            writer = REFERENCE if found.of == REFERENCE else name
            rows.append(Scored(writer, found, Interval(middle, low, high), found.mean()))
    return tuple(sorted(rows, key=lambda row: row.found.of != OWN))
