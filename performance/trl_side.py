"""TRL's GRPOTrainer on a job of this framework: the other side of train_throughput and of overlap.

TRL generates with transformers, the only way it has on a CPU. With ``use_vllm=True`` in its ``colocate`` mode vLLM does start on
a CPU, but TRL 1.16 hands it new weights by ``load_weights`` parameter by parameter, and vLLM's CPU layers have packed theirs
and dropped the originals: its first step ends with an error (``train_throughput --trl use_vllm=true`` shows it). Its ``server``
mode sends weights over NCCL. What costs TRL time without being needed here is off: gradient checkpointing, bfloat16 autocast,
logging, checkpoints, the progress bar. It samples and learns in turn, on all cores.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from performance.common import SEED, num_cores, prompts_in_order, section

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from rlvr.protocols import Verifier
    from rlvr.records import Problem


def environment() -> dict[str, str]:
    """Variables of the process that TRL runs in."""
    return {"OMP_NUM_THREADS": str(num_cores()), "HF_HUB_OFFLINE": "1", "DISABLE_TELEMETRY": "1"}


def trl_side(settings: dict[str, Any]) -> dict[str, Any]:
    """The problems of the recipe, as ``train_throughput`` and ``overlap`` give them to rlvr."""
    from rlvr.data.prompts import load_renderer
    from rlvr.rewards.registry import verifier_for

    problems = prompts_in_order(settings)
    renderer = load_renderer(settings["model"])
    prompts = [renderer.render(problem) for problem in problems]
    return train_with_trl(settings, settings["model"], problems, prompts, verifier_for(problems))


def train_with_trl(
    settings: dict[str, Any],
    model: str,
    problems: Sequence[Problem],
    prompts: Sequence[list[int]],
    verifier: Verifier,
    change: Callable[[PreTrainedModel, int], None] = lambda model, end: None,
) -> dict[str, Any]:
    """Train a model on prompts in their order.

    Args:
        settings: recipe, num_steps, group_size, folder; ``trl``: arguments of GRPOConfig that go before :func:`trl_arguments`.
        model: folder of the model and its tokenizer.
        problems: those of all steps, one after another.
        prompts: the tokens of each.
        verifier: what scores a response to one.
        change: what is done to the model, of which it also gets the end of text, before the training.

    Returns:
        When training started, and when each step ended (``ends``); of each step the response tokens and the mean reward.
    """
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    tokenizer = AutoTokenizer.from_pretrained(model, padding_side="left")
    # TRL takes text.
    texts = tokenizer.batch_decode(prompts)
    assert tokenizer(texts)["input_ids"] == prompts, "both sides must see the same prompt tokens"
    ends: list[float] = []
    tokens: list[int] = []
    rewards: list[float] = []

    def score(
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

    trained = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    change(trained, tokenizer.eos_token_id)
    GRPOTrainer(
        model=trained,
        reward_funcs=score,
        args=GRPOConfig(**trl_arguments(settings)),
        train_dataset=Dataset.from_list([{"prompt": text, "row": row} for row, text in enumerate(texts)]),
        processing_class=tokenizer,
        callbacks=[Stopwatch()],
    ).train()
    return {
        "spawned_at": settings["spawned_at"],
        "ends": ends,
        "rollouts": section(settings, "train").prompts_per_step * settings["group_size"],
        "tokens": tokens,
        "rewards": rewards,
    }


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


def end_at(model: PreTrainedModel, end: int, lengths: Mapping[tuple[int, ...], int]) -> None:
    """Have a model write its end of text as the last token of a response of given length, if not before.

    The row of a prompt that has ended is filled up, as ever, until the longest response of the batch has.

    Args:
        model: its ``generate`` is replaced.
        end: the token that ends a response.
        lengths: tokens of the response to each prompt, its end included.
    """
    import torch
    from transformers import LogitsProcessor, LogitsProcessorList

    plain = model.generate

    class EndAt(LogitsProcessor):
        def __init__(self, totals: torch.Tensor) -> None:
            self._totals = totals  # [rows]

        def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
            is_last = input_ids.shape[1] + 1 >= self._totals
            scores[is_last] = -torch.inf
            scores[is_last, end] = 0.0
            return scores

    def generate(input_ids: torch.Tensor, **options: Any) -> Any:
        drawn = torch.tensor([lengths[tuple(row)] for row in input_ids.tolist()])
        processors = LogitsProcessorList([EndAt(input_ids.shape[1] + drawn)])
        return plain(input_ids=input_ids, logits_processor=processors, **options)

    model.generate = generate
