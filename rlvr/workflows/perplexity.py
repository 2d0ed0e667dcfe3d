"""How likely each model finds what it and the others wrote: jobs by scoring model, kept beside the samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from transformers import AutoTokenizer

from rlvr.cluster import rollout_pool
from rlvr.config import ClusterConfig, PerplexityConfig, RolloutConfig
from rlvr.data.families import reference_solution
from rlvr.data.model_folder import check_model_folder, model_hash
from rlvr.data.prompts import PromptRenderer, check_context, load_renderer
from rlvr.data.templates import template
from rlvr.errors import ConfigError
from rlvr.eval.loading import load_measured
from rlvr.eval.perplexity import (
    OWN,
    REFERENCE,
    Perplexities,
    Text,
    probe_of,
    read_perplexities,
    read_references,
    responses_of,
    score_texts,
    write_perplexities,
)
from rlvr.eval.results import BenchmarkResults, final_models
from rlvr.eval.store import Evaluation, EvaluationSpec
from rlvr.eval.tables import aligned, cell
from rlvr.tracking.progress import StageProgress, say


@dataclass(frozen=True, slots=True)
class Job:
    """Responses that one model is going to score."""

    scorer: Evaluation
    of: str
    """``own`` or ``reference``."""
    beside: Evaluation
    """The evaluation that the result is kept beside: that of the responses; of reference solutions, the base's."""
    texts: Sequence[Text]
    benchmark: BenchmarkResults


def measure_perplexity(config: PerplexityConfig) -> list[BenchmarkResults]:
    """What `rlvr perplexity` does: score what is still to be scored, and keep it beside the samples.

    Scored are, under the base: the responses of every model and checkpoint, and reference solutions; under each trained
    model: its own responses, the base's, and the reference solutions.

    Returns:
        The benchmarks; :func:`rlvr.eval.perplexity.read_perplexities` reads what lies beside their evaluations.

    Raises:
        ConfigError: no evaluation, a model that is no longer the one that was evaluated, or problems with images.
        RlvrError: an engine failed.
    """
    reference = Path(config.reference) if config.reference else None
    benchmarks = list(load_measured(config.folders, config.benchmarks))
    refuse_images(benchmarks)
    jobs = [job for each in benchmarks for job in jobs_of(each, config.responses, reference)]
    scorers = {job.scorer.spec.model_sha256: job.scorer for job in jobs}
    for scorer in scorers.values():
        check_model(scorer.spec)
    for sha, scorer in scorers.items():
        own = [job for job in jobs if job.scorer.spec.model_sha256 == sha]
        score_all(scorer, own, config.responses, config.rollout, config.cluster)
    return benchmarks


def refuse_images(benchmarks: Sequence[BenchmarkResults]) -> None:
    """Raise a ConfigError for responses to images: they would be scored without them."""
    for each in benchmarks:
        if any(problem.images for problem in each.problems):
            raise ConfigError(
                f"the responses on {each.name} were given to images, without which a perplexity of them would mean "
                "nothing",
                where="benchmarks",
                fix="benchmarks= with the names of the others",
            )


def jobs_of(benchmark: BenchmarkResults, responses: int, reference: Path | None) -> list[Job]:
    """What is still to be scored on one benchmark."""
    base, *_ = benchmark.evaluations
    trained = final_models(benchmark.evaluations)[1:]
    given = references(benchmark, reference)
    written = {each.name: responses_of(each, responses) for each in benchmark.evaluations}
    jobs = [Job(base, OWN, each, written[each.name], benchmark) for each in benchmark.evaluations]
    for each in trained:
        jobs += [Job(each, OWN, beside, written[beside.name], benchmark) for beside in (each, base)]
    if given:
        jobs += [Job(each, REFERENCE, base, given, benchmark) for each in (base, *trained)]
    done = {
        (each.folder, found.of, found.scorer_sha256)
        for each in benchmark.evaluations
        for found in read_perplexities(each.folder)
        if found.num_responses == responses or found.of == REFERENCE
    }
    return [job for job in jobs if (job.beside.folder, job.of, job.scorer.spec.model_sha256) not in done]


def references(benchmark: BenchmarkResults, path: Path | None) -> list[Text]:
    """Reference solutions: those of a file, or the worked solutions of generated problems."""
    if path is not None:
        if not path.is_file():
            raise ConfigError("there is no such file", where=str(path), fix="check reference=")
        return read_references(path, benchmark.problems)
    return [
        Text(problem.id, solution, ended=True)
        for problem in benchmark.problems
        if (solution := reference_solution(problem)) is not None
    ]


def check_model(spec: EvaluationSpec) -> None:
    """Check that the model still lies where it was evaluated, and is the same.

    Raises:
        ConfigError: it is another one.
        ModelError: it is not there.
    """
    check_model_folder(spec.model_path)
    if model_hash(spec.model_path) != spec.model_sha256:
        raise ConfigError(
            f"the model {spec.model_name!r} is no longer the one that was evaluated",
            where=spec.model_path,
            fix="put it back, or evaluate anew",
        )


def same_prompts(spec: EvaluationSpec) -> PromptRenderer:
    """The renderer that the evaluation's prompts came from.

    Raises:
        ConfigError: the model folder's prompts are others by now.
    """
    renderer = load_renderer(spec.model_path, template(spec.prompt_template.rpartition(":")[0]))
    if renderer.identity != spec.prompt_template:
        raise ConfigError(
            f"the prompts would be {renderer.identity}, the responses were sampled with {spec.prompt_template}",
            where=spec.model_path,
            fix="put the tokenizer's chat template back that it was evaluated with",
        )
    return renderer


def score_all(
    scorer: Evaluation, jobs: Sequence[Job], responses: int, rollout: RolloutConfig, cluster: ClusterConfig
) -> None:
    """Start a model once and let it score everything; every result is kept as soon as it is there."""
    path = scorer.spec.model_path
    renderer = same_prompts(scorer.spec)
    end = [*renderer.stop_token_ids, AutoTokenizer.from_pretrained(path).eos_token_id][0]

    def encode(text: str) -> list[int]:
        return renderer.encode(text, begin=False)

    prompts = {p.id: renderer.render(p) for job in jobs for p in job.benchmark.problems}
    longest = max(
        len(probe_of(text, prompts[text.problem], encode, end).tokens) for job in jobs for text in job.texts
    )
    check_context(path, longest, 0)
    total = sum(len(job.texts) for job in jobs)
    say(f"perplexity under {scorer.name}: {total:,} responses; starting vLLM")
    sized = replace(rollout, max_prompt_tokens=longest - 1, max_response_tokens=1)
    done = 0
    with (
        rollout_pool(path, sized, cluster, seed=0) as engine,
        StageProgress(f"perplexity under {scorer.name}", total) as progress,
    ):
        for job in jobs:
            before = done

            def show(number: int, before: int = before) -> None:
                progress.update(before + number, "")

            values = score_texts(job.texts, prompts, encode, end, engine.score, show)
            done += len(job.texts)
            found = Perplexities(job.of, scorer.name, scorer.spec.model_sha256, responses, values)
            others = [
                each
                for each in read_perplexities(job.beside.folder)
                if (each.of, each.scorer_sha256) != (found.of, found.scorer_sha256)
            ]
            write_perplexities(job.beside.folder, [*others, found])


def lines(benchmarks: Sequence[BenchmarkResults]) -> list[str]:
    """The results as a table for the terminal."""
    found = []
    for benchmark in benchmarks:
        rows = [
            ["reference" if each.of == REFERENCE else evaluation.name, each.scorer, cell(each.mean())]
            for evaluation in benchmark.evaluations
            for each in read_perplexities(evaluation.folder)
        ]
        found += [*aligned([benchmark.name, "scored by", "perplexity"], rows), ""]
    return [*found, "Mean over problems of the median over responses; 95 % intervals over problems."]
