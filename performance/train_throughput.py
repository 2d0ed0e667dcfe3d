"""Rollouts per second of training: this framework against TRL's GRPOTrainer, same job, in one go.

Both sides train the same model with GRPO on the same prompts in the same order: group size,
response limit, temperature, learning rate, clip range, AdamW and the exact-answer reward are
the same, there is no KL term, one optimizer step takes all rollouts of a step, all in float32.
Each side runs in a process of its own, in turn (A B A B), with all cores. A step's time is from
the end of one step to the end of the next, so it holds everything that a side does in between;
the first steps warm up and are left out.

TRL generates with transformers, the only way it has on a CPU. With ``use_vllm=True`` in its
``colocate`` mode vLLM does start on a CPU, but TRL 1.16 hands it new weights by ``load_weights``
parameter by parameter, and vLLM's CPU layers have packed theirs and dropped the originals: its
first step ends with an error (``--trl use_vllm=true`` shows it). Its ``server`` mode sends weights
over NCCL. What costs TRL time without being needed here is off: gradient checkpointing, bfloat16
autocast, logging, checkpoints, the progress bar. Its micro-batch is the fastest of those tried
(see README.md).
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

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


def main(arguments: list[str]) -> None:
    """Run both sides in turn and print the ratio."""
    args = _arguments(arguments)
    found = machine()
    sections = recipe(args.rlvr)
    if args.operations:
        sections["data"]["chains"]["operations"] = args.operations
    settings = {
        "model": args.model,
        "recipe": sections,
        "num_steps": args.warmup_steps + args.steps,
        "group_size": 8,
        "trl": OmegaConf.to_container(OmegaConf.from_dotlist(args.trl)),
    }
    environments = {
        "rlvr": {},
        "trl": {"OMP_NUM_THREADS": str(num_cores()), "HF_HUB_OFFLINE": "1", "DISABLE_TELEMETRY": "1"},
    }
    print(machine_line(found))
    print(
        f"{sections['train']['prompts_per_step']} prompts × {settings['group_size']} rollouts a step, "
        f"at most {sections['rollout']['max_response_tokens']} tokens, "
        f"{args.warmup_steps} warm-up + {args.steps} measured steps a round",
        flush=True,
    )
    rounds: list[dict[str, dict[str, Any]]] = []
    for _ in range(args.rounds):
        rounds.append({})
        for side in args.sides:
            raw = measure("performance.train_throughput", f"{side}_side", settings, environments[side])
            rounds[-1][side] = summarise(raw, args.warmup_steps)
        print(round_lines(len(rounds), rounds[-1]), flush=True)
    result: dict[str, Any] = {"machine": found, "settings": settings, "rounds": rounds}
    if len(args.sides) == 2:
        result["ratio"] = {
            name: _overall(rounds, "rlvr", name) / _overall(rounds, "trl", name)
            for name in ("rollouts_per_second", "tokens_per_second")
        }
        print(
            f"rlvr / TRL, medians over all measured steps: "
            f"{result['ratio']['rollouts_per_second']:.2f} × rollouts/s, "
            f"{result['ratio']['tokens_per_second']:.2f} × response tokens/s"
        )
    write_result(args.json, result)


def _arguments(arguments: list[str]) -> Any:
    made = parser("train_throughput", __doc__)
    made.add_argument("--steps", type=int, default=15, help="measured steps of each side in each round")
    made.add_argument("--warmup-steps", type=int, default=2, help="steps before them, left out")
    made.add_argument("--rounds", type=int, default=2, help="how often the two sides take turns")
    made.add_argument(
        "--operations",
        type=int,
        nargs="+",
        metavar="N",
        help="difficulties of the problems, which set the responses' length (2: about 30 tokens)",
    )
    made.add_argument(
        "--trl", nargs="*", default=[], metavar="KEY=VALUE", help="change an argument of TRL's GRPOConfig"
    )
    made.add_argument("--sides", nargs="+", choices=("rlvr", "trl"), default=["rlvr", "trl"])
    return made.parse_args(arguments)


# ------------------------------------------------------------------------------------------ figures


def summarise(raw: dict[str, Any], warmup_steps: int) -> dict[str, Any]:
    """Turn the ends of steps into rates; ``raw`` holds one entry per step, the start before the first."""
    seconds = [end - start for start, end in itertools.pairwise(raw["ends"])][warmup_steps:]
    tokens, rewards = raw["tokens"][warmup_steps:], raw["rewards"][warmup_steps:]
    return {
        "startup_seconds": raw["ends"][0] - raw["spawned_at"],
        "first_step_seconds": raw["ends"][1] - raw["ends"][0],
        "step_seconds": seconds,
        "rollouts_per_second": [raw["rollouts"] / s for s in seconds],
        "tokens_per_second": [n / s for n, s in zip(tokens, seconds, strict=True)],
        "mean_length": sum(tokens) / (raw["rollouts"] * len(tokens)),
        "mean_reward": sum(rewards) / len(rewards),
        "stages": {name: median(values[warmup_steps:]) for name, values in raw.get("stages", {}).items()},
    }


def round_lines(number: int, sides: dict[str, dict[str, Any]]) -> str:
    """The table of one round."""
    rows = [
        (
            name,
            f"{median(side['step_seconds']):.2f}",
            f"{min(side['step_seconds']):.2f}–{max(side['step_seconds']):.2f}",
            f"{median(side['rollouts_per_second']):.1f}",
            f"{median(side['tokens_per_second']):,.0f}",
            f"{side['mean_length']:.1f}",
            f"{side['mean_reward']:.3f}",
            f"{side['startup_seconds']:.0f}",
            f"{side['first_step_seconds']:.1f}",
        )
        for name, side in sides.items()
    ]
    header = (
        f"round {number}",
        "s/step",
        "range",
        "rollouts/s",
        "tokens/s",
        "length",
        "reward",
        "start-up s",
        "1st step s",
    )
    stages = [
        f"  {name}: " + ", ".join(f"{stage} {seconds:.2f} s" for stage, seconds in side["stages"].items())
        for name, side in sides.items()
        if side["stages"]
    ]
    return "\n".join([table(header, rows), *stages])


def _overall(rounds: Sequence[dict[str, dict[str, Any]]], side: str, name: str) -> float:
    return median([value for sides in rounds for value in sides[side][name]])


def prompts_in_order(settings: dict[str, Any]) -> list[Any]:
    """The problems of all steps, one after another, as the training loop draws them."""
    from rlvr.collect import PromptStream
    from rlvr.data.benchmarks import training_problems

    stream = PromptStream(training_problems(section(settings, "data")), SEED)
    count = settings["num_steps"] * section(settings, "train").prompts_per_step
    return list(itertools.islice(stream, count))


# -------------------------------------------------------------------------------------- child: rlvr


class Stopwatch:
    """A tracker that keeps when each step ended and what it sampled."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.rows: list[Mapping[str, float]] = []

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self.ends.append(time.time())
        self.rows.append(metrics)

    def log_samples(self, step: int, rows: Sequence[Mapping[str, object]]) -> None:
        pass

    def close(self) -> None:
        pass


def rlvr_side(settings: dict[str, Any]) -> dict[str, Any]:
    """What ``rlvr train recipe=tiny`` does, with metrics and samples written to disk as there."""
    from dataclasses import replace

    from rlvr.algorithms.grpo import GRPOConfig
    from rlvr.checkpoint import Checkpoints
    from rlvr.cluster import training_pools
    from rlvr.config import ClusterConfig, GuardsConfig, TrackingConfig
    from rlvr.data.benchmarks import training_problems
    from rlvr.data.prompts import load_renderer
    from rlvr.driver import Stage, Training, train
    from rlvr.guards import Guards
    from rlvr.rewards.registry import verifier_for
    from rlvr.tracking.trackers import make_trackers

    rollout = section(settings, "rollout")
    config = replace(section(settings, "train"), num_steps=settings["num_steps"], checkpoint_every=0)
    algorithm = GRPOConfig(group_size=settings["group_size"]).build()
    problems = training_problems(section(settings, "data"))
    renderer = load_renderer(settings["model"])
    verifier = verifier_for(problems)
    folder = Path(settings["folder"])
    stopwatch = Stopwatch()
    tracker = make_trackers(folder / "run", TrackingConfig(), {}, stopwatch)
    with training_pools(
        settings["model"],
        rollout,
        section(settings, "learner"),
        ClusterConfig(),
        algorithm,
        config.temperature,
        SEED,
    ) as (engine, learner):
        started = time.time()
        training = Training(
            config=config,
            algorithm=algorithm,
            engine=engine,
            learner=learner,
            verifier=verifier,
            renderer=renderer,
            stages=[Stage.of(config, problems, rollout.max_response_tokens)],
            seed=SEED,
            tracker=tracker,
            num_logged_samples=4,
            guards=Guards(GuardsConfig(), folder / "run"),
        )
        train(training, output=folder / "model", checkpoints=Checkpoints(folder / "run"))
    tracker.close()
    rollouts = config.prompts_per_step * settings["group_size"]
    return {
        "spawned_at": settings["spawned_at"],
        "ends": [started, *stopwatch.ends],
        "rollouts": rollouts,
        "tokens": [row["response/length_mean"] * rollouts for row in stopwatch.rows],
        "rewards": [row["reward/mean"] for row in stopwatch.rows],
        "stages": {
            name: [row[f"time/{name}"] for row in stopwatch.rows] for name in ("rollout", "learn", "sync")
        },
    }


# --------------------------------------------------------------------------------------- child: TRL


def trl_arguments(settings: dict[str, Any]) -> dict[str, Any]:
    """Arguments of TRL's GRPOConfig that make it do rlvr's job, as fast as it can on this machine."""
    rollout, learner = section(settings, "rollout"), section(settings, "learner")
    train = section(settings, "train")
    rollouts = train.prompts_per_step * settings["group_size"]
    arguments = {
        "output_dir": settings["folder"],
        "max_steps": settings["num_steps"],
        "per_device_train_batch_size": min(64, rollouts),
        "num_generations": settings["group_size"],
        "max_completion_length": rollout.max_response_tokens,
        "temperature": train.temperature,
        "top_p": 1.0,
        "top_k": 0,
        "beta": 0.0,
        "epsilon": 0.2,
        "loss_type": "grpo",
        "scale_rewards": "group",
        "shuffle_dataset": False,
        "learning_rate": learner.learning_rate,
        "lr_scheduler_type": "constant",
        "optim": "adamw_torch",
        "adam_beta1": learner.adam_beta1,
        "adam_beta2": learner.adam_beta2,
        "weight_decay": learner.weight_decay,
        "max_grad_norm": learner.max_grad_norm,
        "bf16": False,
        "use_cpu": True,
        "gradient_checkpointing": False,
        "logging_strategy": "no",
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "seed": SEED,
        **settings["trl"],
    }
    # One optimizer step takes all rollouts of one generation, in as many micro-batches as that needs.
    accumulation = rollouts // arguments["per_device_train_batch_size"]
    return {"gradient_accumulation_steps": accumulation, **arguments}


def trl_side(settings: dict[str, Any]) -> dict[str, Any]:
    """TRL's GRPOTrainer on the same job."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    from rlvr.data.prompts import load_renderer
    from rlvr.rewards.registry import verifier_for

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    problems = prompts_in_order(settings)
    verifier = verifier_for(problems)
    renderer = load_renderer(settings["model"])
    tokenizer = AutoTokenizer.from_pretrained(settings["model"], padding_side="left")
    ends: list[float] = []
    tokens: list[int] = []
    rewards: list[float] = []

    def exact_answer(
        prompts: list[Any], completions: list[Any], completion_ids: list[list[int]], row: list[int], **_: Any
    ) -> list[float]:
        scores = []
        for index, ids in zip(row, completion_ids, strict=True):
            reason = "stop" if ids[-1] == tokenizer.eos_token_id else "length"
            text = tokenizer.decode(ids, skip_special_tokens=True)
            scores.append(verifier.verify(problems[index], text, reason).score)
        tokens.append(sum(map(len, completion_ids)))
        rewards.append(sum(scores) / len(scores))
        return scores

    class Stopwatch(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            ends.append(time.time())

        def on_step_end(self, *_: Any, **__: Any) -> None:
            ends.append(time.time())

    # The text that rlvr's engine receives as tokens.
    dataset = Dataset.from_list(
        [{"prompt": renderer.text(problem), "row": row} for row, problem in enumerate(problems)]
    )
    first = tokenizer(dataset[0]["prompt"], add_special_tokens=False)["input_ids"]
    assert first == renderer.render(problems[0]), "both sides must see the same prompt tokens"
    trainer = GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(settings["model"], dtype=torch.float32),
        reward_funcs=exact_answer,
        args=GRPOConfig(**trl_arguments(settings)),
        train_dataset=dataset,
        processing_class=tokenizer,
        callbacks=[Stopwatch()],
    )
    trainer.train()
    return {
        "spawned_at": settings["spawned_at"],
        "ends": ends,
        "rollouts": section(settings, "train").prompts_per_step * settings["group_size"],
        "tokens": tokens,
        "rewards": rewards,
    }
