"""Response tokens per second of the evaluator against bare ``vllm.LLM.generate``, same requests.

The evaluator's side is the real path: its pool of workers, rendering, sampling, decoding,
verification, and every sample appended to disk. The bare side is one ``LLM`` in one process
with all cores as threads, which is vLLM's best single-process setting on a CPU (see README.md),
given all requests at once, its results dropped. Both sides sample in float32 with the same
``n`` per request, temperature, top-p, limit and ``max_num_seqs`` per engine, and both decode
the text. Start-up, loading and a small warm-up are reported apart.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from performance.child import measure
from performance.common import (
    machine,
    machine_line,
    median,
    num_cores,
    parser,
    recipe,
    section,
    table,
    write_result,
)

SEED = 0
WARMUP_TOKENS = 8


def main(arguments: list[str]) -> None:
    """Run both sides in turn and print the ratio."""
    args = _arguments(arguments)
    found = machine()
    settings = {
        "model": args.model,
        "recipe": recipe([f"evaluation.num_samples={args.samples}", *args.rlvr]),
        "num_problems": args.problems,
        "bare_threads": args.bare_threads,
        "detokenize": args.detokenize,
    }
    print(machine_line(found))
    print(f"{args.problems} problems × {args.samples} samples a round", flush=True)
    sides = ("evaluator", "bare")
    rounds: list[dict[str, dict[str, Any]]] = []
    for number in range(1, args.rounds + 1):
        rounds.append({})
        for side in sides:
            threads = str(args.bare_threads)
            environment = {"OMP_NUM_THREADS": threads} if side == "bare" else {}
            rounds[-1][side] = measure(
                "performance.evaluate_throughput", f"{side}_side", settings, environment
            )
        header = (f"round {number}", "tokens/s", "tokens", "samples", "sampling s", "start-up s")
        rows = [
            (
                side,
                f"{figures['tokens_per_second']:,.0f}",
                f"{figures['tokens']:,}",
                figures["samples"],
                f"{figures['seconds']:.1f}",
                f"{figures['startup_seconds']:.0f}",
            )
            for side, figures in rounds[-1].items()
        ]
        print(table(header, rows), flush=True)
    rates = {side: median([figures[side]["tokens_per_second"] for figures in rounds]) for side in sides}
    ratio = median([r["evaluator"]["tokens_per_second"] / r["bare"]["tokens_per_second"] for r in rounds])
    print(
        f"evaluator / bare LLM.generate, median over {len(rounds)} rounds: {ratio:.2f} "
        f"({rates['evaluator']:,.0f} against {rates['bare']:,.0f} response tokens/s)"
    )
    write_result(args.json, {"machine": found, "settings": settings, "rounds": rounds, "ratio": ratio})


def _arguments(arguments: list[str]) -> Any:
    made = parser("evaluate_throughput", __doc__)
    made.add_argument("--problems", type=int, default=100, help="problems of the test split")
    made.add_argument("--samples", type=int, default=64, help="samples per problem")
    made.add_argument("--rounds", type=int, default=3, help="how often the two sides take turns")
    made.add_argument("--bare-threads", type=int, default=num_cores(), help="threads of the bare engine")
    made.add_argument(
        "--no-detokenize",
        dest="detokenize",
        action="store_false",
        help="let the bare side return tokens only; the evaluator needs text and still decodes",
    )
    return made.parse_args(arguments)


def _problems(settings: dict[str, Any]) -> list[Any]:
    from rlvr.config import BenchmarkConfig
    from rlvr.data.benchmarks import benchmark_problems

    return benchmark_problems(BenchmarkConfig("chains"), section(settings, "data"))[
        : settings["num_problems"]
    ]


def _plan(settings: dict[str, Any]) -> Any:
    from rlvr.data.benchmarks import BENCHMARKS

    return section(settings, "evaluation").plan(BENCHMARKS["chains"].plan)


def _result(settings: dict[str, Any], started: float, tokens: int, samples: int) -> dict[str, Any]:
    seconds = time.time() - started
    return {
        "startup_seconds": started - settings["spawned_at"],
        "seconds": seconds,
        "tokens": tokens,
        "samples": samples,
        "tokens_per_second": tokens / seconds,
    }


def evaluator_side(settings: dict[str, Any]) -> dict[str, Any]:
    """What ``rlvr evaluate`` does between its engines' start and their end."""
    from dataclasses import replace

    from rlvr.cluster import rollout_pool
    from rlvr.config import ClusterConfig
    from rlvr.data.loaders import problems_hash
    from rlvr.data.prompts import load_renderer
    from rlvr.eval.evaluate import EvaluationProgress, evaluate
    from rlvr.eval.store import EvaluationSpec
    from rlvr.protocols import SampleRequest, SamplingSettings
    from rlvr.rewards.registry import verifier_for

    evaluation = _plan(settings)
    problems = _problems(settings)
    renderer = load_renderer(settings["model"])
    verifier = verifier_for(problems)
    sized = replace(section(settings, "rollout"), max_response_tokens=evaluation.max_tokens)
    spec = EvaluationSpec(
        model_name="benchmark",
        model_path=settings["model"],
        model_sha256="",
        benchmark="chains",
        problems_sha256=problems_hash(problems),
        num_problems=len(problems),
        num_samples=evaluation.num_samples,
        prompt_template=renderer.identity,
        sampling={},
        verifier=verifier.identity,
        seed=SEED,
        chance_level=0.0,
    )
    progress: list[EvaluationProgress] = []
    with rollout_pool(settings["model"], sized, ClusterConfig(), SEED) as engine:
        warmup = [SampleRequest(key, renderer.render(problem), 8) for key, problem in enumerate(problems[:8])]
        list(engine.generate(warmup, SamplingSettings(evaluation.temperature, WARMUP_TOKENS)))
        started = time.time()
        evaluate(
            engine=engine,
            renderer=renderer,
            verifier=verifier,
            problems=problems,
            plan=evaluation,
            spec=spec,
            folder=Path(settings["folder"]) / "evaluation",
            on_progress=progress.append,
        )
        result = _result(settings, started, progress[-1].num_tokens, progress[-1].num_done)
    return {**result, "accuracy": progress[-1].num_correct / progress[-1].num_done}


def bare_side(settings: dict[str, Any]) -> dict[str, Any]:
    """``LLM.generate`` on all requests at once."""
    os.environ.update(
        VLLM_ENABLE_V1_MULTIPROCESSING="0",
        VLLM_CPU_OMP_THREADS_BIND="nobind",
        VLLM_CPU_KVCACHE_SPACE="1",
        VLLM_LOGGING_LEVEL="ERROR",
        VLLM_NO_USAGE_STATS="1",
    )
    import torch
    from vllm import LLM, SamplingParams

    from rlvr.data.prompts import load_renderer

    torch.set_num_threads(settings["bare_threads"])
    rollout, evaluation = section(settings, "rollout"), _plan(settings)
    renderer = load_renderer(settings["model"])
    prompts = [renderer.render(problem) for problem in _problems(settings)]
    llm = LLM(
        model=settings["model"],
        dtype="float32",
        seed=SEED,
        max_model_len=rollout.max_prompt_tokens + evaluation.max_tokens,
        max_num_seqs=rollout.max_num_seqs,
        enforce_eager=rollout.enforce_eager,
        generation_config="vllm",
    )

    def params(num_samples: int, max_tokens: int) -> Any:
        return SamplingParams(
            n=num_samples,
            temperature=evaluation.temperature,
            top_p=evaluation.top_p,
            max_tokens=max_tokens,
            detokenize=settings["detokenize"],
        )

    # The evaluator's requests: chunks of one problem's samples, one after another.
    sizes = [
        min(evaluation.chunk_size, evaluation.num_samples - start)
        for start in range(0, evaluation.num_samples, evaluation.chunk_size)
    ]
    requests = [{"prompt_token_ids": prompt} for prompt in prompts for _ in sizes]
    sampling = [params(size, evaluation.max_tokens) for _ in prompts for size in sizes]
    llm.generate(requests[:8], params(8, WARMUP_TOKENS), use_tqdm=False)
    started = time.time()
    outputs = [
        sample for request in llm.generate(requests, sampling, use_tqdm=False) for sample in request.outputs
    ]
    return _result(settings, started, sum(len(sample.token_ids) for sample in outputs), len(outputs))
