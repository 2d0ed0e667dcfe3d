"""What a training step costs beyond its arithmetic: in turn with bare vLLM and bare torch on the same work.

One side trains by GRPO as ``rlvr train recipe=tiny`` does, sampling and learning in turn, and notes what each step asked the
engines for and what it learned from. The other gets these requests and rows: as many ``LLM`` as there are workers, in
processes of their own, and then forward, backward and AdamW of a Hugging Face model on the same micro-batches, backward
where ours is. It verifies nothing, sends no weights, proves none and writes nothing. The learning rate is 0, so that every
step's weights are the start model's and the same seeds give the same responses on both sides; the arithmetic is what it
always is. The sides take turns, each in processes of its own with all cores, whose
threads wait asleep as rlvr's do (rlvr/openmp.py).
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from performance.child import measure
from performance.common import (
    SEED,
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
from performance.train_throughput import Stopwatch
from rlvr.openmp import ASLEEP

if TYPE_CHECKING:
    from rlvr.batch import TrainBatch
    from rlvr.protocols import SampleRequest, SamplingSettings
    from rlvr.records import Completion

STAGES = ("rollout", "learn", "sync")
GROUP_SIZE = 8
WORK_FILE = "work.pt"


def main(arguments: list[str]) -> None:
    """Run both sides in turn, and print seconds per step and their ratio."""
    made = parser("step_overhead", __doc__)
    made.add_argument("--steps", type=int, default=8, help="measured steps of each side in each round")
    made.add_argument("--warmup-steps", type=int, default=2, help="steps before them, left out")
    made.add_argument("--rounds", type=int, default=2, help="how often the two sides take turns")
    args = made.parse_args(arguments)
    found = machine()
    print(machine_line(found), flush=True)
    settings = {
        "model": args.model,
        "recipe": recipe(["learner.learning_rate=0", *args.rlvr]),
        "num_steps": args.warmup_steps + args.steps,
        "cores": num_cores(),
    }
    stages: dict[str, dict[str, list[float]]] = {"rlvr": {}, "bare": {}}
    tokens: dict[str, list[int]] = {"rlvr": [], "bare": []}
    for _ in range(args.rounds):
        with TemporaryDirectory(prefix="rlvr-work-") as folder:
            for side, named in stages.items():
                raw = measure(
                    "performance.step_overhead", f"{side}_side", {**settings, "work": folder}, ASLEEP
                )
                for name, seconds in raw["stages"].items():
                    named.setdefault(name, []).extend(seconds[args.warmup_steps :])
                tokens[side] += raw["tokens"][args.warmup_steps :]
    print(lines(stages, tokens), flush=True)
    write_result(args.json, {"machine": found, "settings": settings, "stages": stages, "tokens": tokens})


def lines(stages: dict[str, dict[str, list[float]]], tokens: dict[str, list[int]]) -> str:
    """The table of medians, and the ratio."""
    header = ("side", "s/step", *STAGES, "response tokens")
    rows = [
        (
            side,
            f"{median(named['step']):.2f}",
            *(f"{median(named[stage]):.2f}" if stage in named else "" for stage in STAGES),
            f"{sum(tokens[side]) / len(tokens[side]):,.0f}",
        )
        for side, named in stages.items()
    ]
    ratios = {
        name: median(stages["rlvr"][name]) / median(stages["bare"][name])
        for name in ("step", "rollout", "learn")
    }
    return (
        f"{table(header, rows)}\n"
        f"sampling {ratios['rollout']:.2f}, learning {ratios['learn']:.2f}, "
        f"a whole step {ratios['step']:.2f} times as long as bare vLLM and bare torch"
    )


# -------------------------------------------------------------------------------------- child: rlvr


class Noted:
    """An engine and a learner that note what they are asked for, and pass it on."""

    def __init__(self, engine: Any, learner: Any) -> None:
        self._engine, self._learner = engine, learner
        self.process_metrics, self.stop = engine.process_metrics, engine.stop
        self.annotate, self.publish, self.save = learner.annotate, learner.publish, learner.save
        self.save_state, self.load_state = learner.save_state, learner.load_state
        self.requests: list[tuple[list[SampleRequest], SamplingSettings]] = []
        self.minibatches: list[list[TrainBatch]] = []

    @property
    def version(self) -> int:
        """Of the engine's weights."""
        return int(self._engine.version)

    def generate(
        self, requests: Sequence[SampleRequest], settings: SamplingSettings
    ) -> Iterator[tuple[int, list[Completion]]]:
        """The engine's."""
        self.requests.append((list(requests), settings))
        return iter(self._engine.generate(requests, settings))

    def update(self, minibatches: Sequence[TrainBatch], *, value_only: bool = False) -> dict[str, float]:
        """The learner's."""
        self.minibatches.append(list(minibatches))
        metrics: dict[str, float] = self._learner.update(minibatches, value_only=value_only)
        return metrics


def rlvr_side(settings: dict[str, Any]) -> dict[str, Any]:
    """Train; seconds of each step and of its stages. What was asked for goes to the folder ``settings['work']``."""
    import torch

    from rlvr.algorithms.grpo import GRPOConfig
    from rlvr.checkpoint import Checkpoints
    from rlvr.cluster import training_pools
    from rlvr.config import ClusterConfig, GuardsConfig, TrackingConfig
    from rlvr.data.benchmarks import training_problems
    from rlvr.data.prompts import load_renderer
    from rlvr.driver import Stage, Training, train
    from rlvr.guards import Guards
    from rlvr.rewards.pool import VerifierPool
    from rlvr.rewards.registry import verifier_for
    from rlvr.tracking.trackers import make_trackers

    rollout, learner = section(settings, "rollout"), section(settings, "learner")
    config = replace(section(settings, "train"), num_steps=settings["num_steps"], checkpoint_every=0)
    algorithm = GRPOConfig(group_size=GROUP_SIZE).build()
    problems = training_problems(section(settings, "data"))
    folder = Path(settings["folder"])
    stopwatch = Stopwatch()
    tracker = make_trackers(folder / "run", TrackingConfig(), {}, stopwatch)
    with (
        VerifierPool(verifier_for(problems), 1) as pool,
        training_pools(
            settings["model"], rollout, learner, ClusterConfig(), algorithm, config.temperature, SEED
        ) as pools,
    ):
        noted = Noted(*pools)
        training = Training(
            config=config,
            algorithm=algorithm,
            engine=noted,
            learner=noted,
            verifier=pool,
            renderer=load_renderer(settings["model"]),
            stages=[Stage.of(config, problems, rollout.max_response_tokens)],
            seed=SEED,
            tracker=tracker,
            num_logged_samples=4,
            guards=Guards(GuardsConfig(), folder / "run"),
        )
        started = time.time()
        train(training, output=folder / "model", checkpoints=Checkpoints(folder / "run"))
    tracker.close()
    torch.save((noted.requests, noted.minibatches), Path(settings["work"]) / WORK_FILE)
    rollouts = config.prompts_per_step * GROUP_SIZE
    ends = [started, *stopwatch.ends]
    return {
        "stages": {
            "step": [end - start for start, end in itertools.pairwise(ends)],
            **{name: [row[f"time/{name}"] for row in stopwatch.rows] for name in STAGES},
        },
        "tokens": [round(row["response/length_mean"] * rollouts) for row in stopwatch.rows],
    }


# -------------------------------------------------------------------------------------- child: bare


def bare_side(settings: dict[str, Any]) -> dict[str, Any]:
    """The same requests by bare engines and the same rows by bare torch, step by step."""
    import torch

    requests, minibatches = torch.load(Path(settings["work"]) / WORK_FILE, weights_only=False)
    workers = section(settings, "rollout").num_workers
    start = multiprocessing.get_context("spawn")
    pipes = []
    for _ in range(workers):
        ours, theirs = start.Pipe()
        start.Process(target=bare_engine, args=(settings, theirs), daemon=True).start()
        pipes.append(ours)
    for pipe in pipes:
        pipe.recv()
    learner = BareLearner(settings)
    seconds: dict[str, list[float]] = {"step": [], "rollout": [], "learn": []}
    tokens = []
    for (asked, sampling), batches in zip(requests, minibatches, strict=True):
        started = time.perf_counter()
        for index, pipe in enumerate(pipes):
            pipe.send((asked[index::workers], sampling))
        tokens.append(sum(pipe.recv() for pipe in pipes))
        sampled = time.perf_counter()
        for batch in batches:
            learner.update(batch)
        ended = time.perf_counter()
        for name, part in zip(seconds, (ended - started, sampled - started, ended - sampled), strict=True):
            seconds[name].append(part)
    return {"stages": seconds, "tokens": tokens}


def bare_engine(settings: dict[str, Any], pipe: Connection) -> None:
    """``LLM.generate`` on what comes through the pipe; answers with the number of response tokens."""
    rollout = section(settings, "rollout")
    os.environ.update(
        VLLM_ENABLE_V1_MULTIPROCESSING="0",
        VLLM_CPU_OMP_THREADS_BIND="nobind",
        VLLM_CPU_KVCACHE_SPACE="1",
        VLLM_LOGGING_LEVEL="ERROR",
        VLLM_NO_USAGE_STATS="1",
    )
    import torch
    from vllm import LLM, SamplingParams

    from rlvr.seeds import derive_seed

    torch.set_num_threads(rollout.threads_per_worker)
    llm = LLM(
        model=settings["model"],
        dtype="float32",
        seed=SEED,
        max_model_len=rollout.max_prompt_tokens + rollout.max_response_tokens,
        max_num_seqs=rollout.max_num_seqs,
        enforce_eager=rollout.enforce_eager,
        logprobs_mode="processed_logprobs",
        enable_chunked_prefill=False,  # which a CPU's seeded requests do not bear
        generation_config="vllm",
    )
    pipe.send("ready")
    while True:
        asked, sampling = pipe.recv()
        params = [
            SamplingParams(
                n=request.num_samples,
                temperature=sampling.temperature,
                max_tokens=sampling.max_tokens,
                stop_token_ids=list(sampling.stop_token_ids),
                seed=derive_seed(sampling.seed, request.key),
                logprobs=0,
                flat_logprobs=True,
                detokenize=False,
            )
            for request in asked
        ]
        prompts = [{"prompt_token_ids": request.prompt_tokens} for request in asked]
        outputs = llm.generate(prompts, params, use_tqdm=False)
        pipe.send(sum(len(sample.token_ids) for output in outputs for sample in output.outputs))


class BareLearner:
    """A Hugging Face model and AdamW, and nothing around them."""

    def __init__(self, settings: dict[str, Any]) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        learner = section(settings, "learner")
        torch.set_num_threads(learner.threads_per_learner)
        self._budget, self._norm = learner.micro_batch_tokens, learner.max_grad_norm
        self._temperature = section(settings, "train").temperature
        self._model = AutoModelForCausalLM.from_pretrained(settings["model"], dtype=torch.float32).train()
        self._optimizer = torch.optim.AdamW(
            self._model.parameters(),
            lr=learner.learning_rate,
            betas=(learner.adam_beta1, learner.adam_beta2),
            weight_decay=learner.weight_decay,
            fused=True,
        )

    def update(self, batch: TrainBatch) -> None:
        """One optimizer step."""
        import torch
        from torch.nn.functional import cross_entropy

        from rlvr.learner.micro_batches import plan_micro_batches

        teaches = ((batch.advantages != 0) & (batch.loss_weights != 0)).any(1)
        lengths = batch.lengths.tolist()
        for part in (teaches, ~teaches):
            members = part.nonzero().flatten().tolist()
            for [places] in plan_micro_batches([lengths[row] for row in members], self._budget, 1):
                micro = batch.rows([members[place] for place in places])
                logits = self._model(micro.tokens).logits[:, :-1] / self._temperature
                surprise = cross_entropy(logits.transpose(1, 2), micro.tokens[:, 1:], reduction="none")
                steps = torch.arange(micro.response_mask.shape[1])
                predicting = (micro.prompt_lengths[:, None] - 1 + steps).clamp(max=surprise.shape[1] - 1)
                weights = micro.advantages * micro.loss_weights
                loss = (surprise.gather(1, predicting) * weights).sum()
                if part is teaches:
                    loss.backward()
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), self._norm)
        self._optimizer.step()
        self._optimizer.zero_grad()
