"""Measure one model on one benchmark: n verified samples of every problem, on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from rlvr.collect import judge_later
from rlvr.config import SamplingPlan
from rlvr.errors import RlvrError, VerifierError
from rlvr.eval.samples import Sample
from rlvr.eval.store import EvaluationSpec, SampleStore, expected_tokens, write_problems
from rlvr.protocols import Renderer, RolloutEngine, SamplingSettings, Verifier
from rlvr.records import Completion, Problem, Verdict
from rlvr.run_folder import SAMPLES_FILE

MAX_ERROR_SHARE = 0.05
"""An evaluation stops when the verifier itself fails on more than this share of its samples."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some samples of one problem: what one request asks for and one append stores."""

    problem: Problem
    samples: tuple[int, ...]
    """Sample indices, all still to do."""


@dataclass(frozen=True, slots=True)
class EvaluationProgress:
    """What is known after each stored chunk."""

    num_done: int
    """Samples that are there, those of earlier sessions included, as in the next two."""
    num_total: int
    num_correct: int
    num_cut_off: int
    """That the length limit ended."""
    num_tokens: int
    """Response tokens of this session."""


def evaluate(
    *,
    engine: RolloutEngine,
    renderer: Renderer,
    verifier: Verifier,
    problems: Sequence[Problem],
    plan: SamplingPlan,
    spec: EvaluationSpec,
    folder: Path,
    on_progress: Callable[[EvaluationProgress], None],
) -> None:
    """Sample what is missing, verify it as it arrives, and append it.

    Killed at any point, the same call goes on: every (problem, sample) is stored exactly once.

    Args:
        engine: holds the model's weights.
        renderer: prompts.
        verifier: verdicts.
        problems: the benchmark.
        plan: n and the sampling.
        spec: what the folder is going to hold.
        folder: where samples are appended.
        on_progress: called after each chunk.

    Raises:
        ConfigError: the folder holds an evaluation made differently.
        VerifierError: the verifier failed on too many samples.
    """
    store = SampleStore(folder, spec)
    write_problems(folder, problems)
    total = len(problems) * plan.num_samples
    try:
        expected = expected_tokens(folder, [problem.id for problem in problems])
        chunks = missing_chunks(longest_first(problems, expected), plan, store.done)
        requests = [
            renderer.request(key, chunk.problem, len(chunk.samples)) for key, chunk in enumerate(chunks)
        ]
        sampling = SamplingSettings(
            plan.temperature,
            plan.max_tokens,
            plan.top_p,
            plan.top_k,
            stop_token_ids=renderer.stop_token_ids,
        )
        tokens = 0
        refuse_errors(store.num_errors, total, folder)
        sampled_chunks = ((chunks[key], found) for key, found in engine.generate(requests, sampling))
        for samples in verified(sampled_chunks, verifier):
            store.append(samples)
            tokens += sum(sample.num_tokens for sample in samples)
            refuse_errors(store.num_errors, total, folder)
            counts = (len(store.done), total, store.num_correct, store.num_cut_off)
            on_progress(EvaluationProgress(*counts, tokens))
    finally:
        store.close()


def refuse_errors(errors: int, total: int, folder: Path) -> None:
    """Stop when the verifier itself has failed too often, in this session or an earlier one."""
    if errors > MAX_ERROR_SHARE * total:
        raise VerifierError(
            f"the verifier failed on {errors} of {total} samples",
            where=str(folder / SAMPLES_FILE),
            fix="mend the verifier (the rows of status error say how it failed), then delete the folder",
        )


def longest_first(problems: Sequence[Problem], expected: Mapping[str, int]) -> list[Problem]:
    """Problems in the order of their expected response tokens, the longest first; unknown ones as they are.

    What is started last ends last: with the longest responses at the end, most of the engines would wait for few.
    """
    return sorted(problems, key=lambda problem: -expected.get(problem.id, 0))


def missing_chunks(
    problems: Sequence[Problem], plan: SamplingPlan, done: set[tuple[str, int]]
) -> list[Chunk]:
    """What is still to sample, cut by (problem, chunk).

    Chunks of one problem are neighbours, so that its prompt is prefilled once and found in
    the prefix cache by the rest.
    """
    chunks: list[Chunk] = []
    for problem in problems:
        missing = [i for i in range(plan.num_samples) if (problem.id, i) not in done]
        starts = range(0, len(missing), plan.chunk_size)
        chunks += [Chunk(problem, tuple(missing[start : start + plan.chunk_size])) for start in starts]
    return chunks


def verified(
    sampled: Iterator[tuple[Chunk, Sequence[Completion]]], verifier: Verifier
) -> Iterator[list[Sample]]:
    """Judge chunks while more are sampled, and yield each once all its verdicts are there.

    What was sampled before the engine fails is yielded before the failure is raised.
    """
    waiting: list[tuple[Chunk, list[tuple[Completion, Future[Verdict]]]]] = []
    failure: RlvrError | None = None
    try:
        for chunk, completions in sampled:
            pairs = [(found, judge_later(verifier, chunk.problem, found)) for found in completions]
            waiting.append((chunk, pairs))
            ready = [entry for entry in waiting if all(verdict.done() for _, verdict in entry[1])]
            waiting = [entry for entry in waiting if not any(entry is other for other in ready)]
            yield from (samples_of(*entry) for entry in ready)
    except RlvrError as error:
        failure = error
    yield from (samples_of(*entry) for entry in waiting)
    if failure is not None:
        raise failure


def samples_of(chunk: Chunk, pairs: Sequence[tuple[Completion, Future[Verdict]]]) -> list[Sample]:
    """The rows of one chunk; waits for verdicts that are not there yet."""
    samples = []
    for index, (completion, future) in zip(chunk.samples, pairs, strict=True):
        verdict = future.result()
        samples.append(
            Sample(
                problem=chunk.problem.id,
                sample=index,
                score=verdict.score,
                status=verdict.status,
                answer=verdict.answer,
                text=completion.text,
                num_tokens=completion.num_tokens,
                finish_reason=completion.finish_reason,
            )
        )
    return samples
