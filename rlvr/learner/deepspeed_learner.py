"""One data-parallel rank of the learner, on DeepSpeed. The only file that imports deepspeed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlvr.algorithms.algorithm import PolicyLoss
from rlvr.batch import TrainBatch
from rlvr.config import LearnerConfig
from rlvr.learner.forward import Policy
from rlvr.learner.micro_batches import plan_micro_batches

SHARED_MEMORY_OP = "deepspeed_shm_comm"
GATHER_BYTES = 1 << 28
"""ZeRO-3 shards are gathered in groups of about this size: few collectives, bounded memory."""


@dataclass(frozen=True, slots=True)
class LearnerOptions:
    """What one rank is started with; device and dtype are resolved."""

    model: str
    device: str
    dtype: str
    rank: int
    num_ranks: int
    master_address: str
    master_port: int
    seed: int
    temperature: float
    settings: LearnerConfig


class DeepSpeedLearner:
    """The policy on one rank; all methods are called on every rank in the same order."""

    def __init__(self, options: LearnerOptions, policy_loss: PolicyLoss) -> None:
        """Join the process group, load the model, build the DeepSpeed engine."""
        os.environ.update(
            RANK=str(options.rank),
            LOCAL_RANK="0",
            WORLD_SIZE=str(options.num_ranks),
            MASTER_ADDR=options.master_address,
            MASTER_PORT=str(options.master_port),
        )
        if options.device == "cpu":
            os.environ["DS_ACCELERATOR"] = "cpu"
            torch.set_num_threads(options.settings.threads_per_learner)
        import deepspeed

        # DeepSpeed would compile a C++ all-reduce on first use: half a minute, a compiler needed,
        # and a process killed meanwhile leaves a lock on which every later one waits for ever.
        deepspeed.ops.__compatible_ops__[SHARED_MEMORY_OP] = False

        self._deepspeed = deepspeed
        self._options = options
        self._policy_loss = policy_loss
        self._num_updates = 0
        self._device = torch.device(options.device)
        torch.manual_seed(options.seed)
        deepspeed.init_distributed(
            dist_backend="gloo" if options.device == "cpu" else "nccl", verbose=False, init_method="env://"
        )
        settings = options.settings
        model = AutoModelForCausalLM.from_pretrained(options.model, dtype=getattr(torch, options.dtype))
        if settings.gradient_checkpointing:
            model.gradient_checkpointing_enable()
        policy = Policy(model)
        optimizer = torch.optim.AdamW(
            policy.parameters(),
            lr=settings.learning_rate,
            betas=(settings.adam_beta1, settings.adam_beta2),
            weight_decay=settings.weight_decay,
        )
        self._engine, self._optimizer, _, _ = deepspeed.initialize(
            model=policy, optimizer=optimizer, config=deepspeed_config(options)
        )
        self._plain_norm = 0.0
        if settings.zero_stage == 0 and options.dtype == "float32":
            # Here DeepSpeed clips with a plain torch call and forgets the norm.
            self._engine.clip_fp32_gradients = self._clip_and_keep_norm
        self._hf_model = model
        self._tokenizer = AutoTokenizer.from_pretrained(options.model)

    def update(self, minibatches: Sequence[TrainBatch]) -> dict[str, float]:
        """One optimizer step per minibatch.

        Returns:
            Metrics, the same on every rank: means over tokens of the step, except the loss and
            the gradient norm, which are means over optimizer steps.
        """
        self._engine.train()
        sums = torch.zeros(len(TOKEN_METRICS) + 1, dtype=torch.float64)
        ratio_max, loss_sum, norm_sum = 0.0, 0.0, 0.0
        for minibatch in minibatches:
            self._set_learning_rate()
            token_sums, loss, largest = self._accumulate(minibatch)
            self._engine.step()
            self._num_updates += 1
            sums += token_sums
            ratio_max = max(ratio_max, largest)
            loss_sum += loss
            norm_sum += float(self._engine.get_global_grad_norm() or self._plain_norm)
        totals = torch.cat([sums, torch.tensor([loss_sum])]).to(self._device)
        dist.all_reduce(totals)
        largest_ratio = torch.tensor(ratio_max, device=self._device)
        dist.all_reduce(largest_ratio, op=dist.ReduceOp.MAX)
        num_tokens = max(1.0, totals[len(TOKEN_METRICS)].item())
        return {
            **{name: totals[i].item() / num_tokens for i, name in enumerate(TOKEN_METRICS)},
            "policy/loss": totals[-1].item() / len(minibatches),
            "policy/ratio_max": largest_ratio.item(),
            "policy/grad_norm": norm_sum / len(minibatches),
            "policy/learning_rate": self._optimizer.param_groups[0]["lr"],
        }

    def _clip_and_keep_norm(self) -> None:
        """Clip the reduced gradients as DeepSpeed would."""
        parameters = self._hf_model.parameters()
        norm = torch.nn.utils.clip_grad_norm_(parameters, self._options.settings.max_grad_norm)
        self._plain_norm = norm.item()

    def _accumulate(self, minibatch: TrainBatch) -> tuple[Tensor, float, float]:
        """Forward and backward over this rank's micro-batches; gradients stay local until step()."""
        sums = torch.zeros(len(TOKEN_METRICS) + 1, dtype=torch.float64)
        loss_sum, ratio_max = 0.0, 0.0
        lengths = (minibatch.prompt_lengths + minibatch.response_mask.sum(1).long()).tolist()
        plan = plan_micro_batches(lengths, self._options.settings.micro_batch_tokens, self._options.num_ranks)
        for micro_batches in plan:
            rows = micro_batches[self._options.rank]
            # A rank without rows still joins the collectives, with a row that weighs nothing.
            micro = minibatch.rows(rows or [0])
            weights = (micro.loss_weights if rows else micro.loss_weights * 0).to(self._device)
            logprobs, entropies = self._forward(micro)
            old_logprobs = (
                logprobs.detach() if micro.old_logprobs is None else micro.old_logprobs.to(self._device)
            )
            output = self._policy_loss(logprobs, old_logprobs, micro.advantages.to(self._device))
            loss = (output.loss * weights).sum()
            # DeepSpeed averages gradients over ranks; the objective is a sum over all rows.
            self._engine.backward(loss * self._options.num_ranks, scale_wrt_gas=False)
            loss_sum += loss.item()
            counted = (weights > 0).double()
            mismatch = (old_logprobs - micro.rollout_logprobs.to(self._device)).abs()
            approximate_kl = old_logprobs - logprobs.detach()
            values = (
                entropies,
                output.clipped,
                output.ratio,
                approximate_kl,
                mismatch,
                torch.ones_like(counted),
            )
            sums += torch.stack([(value * counted).sum() for value in values]).cpu()
            ratio_max = max(ratio_max, (output.ratio * counted).max().item())
        return sums, loss_sum, ratio_max

    def _forward(self, batch: TrainBatch) -> tuple[Tensor, Tensor]:
        logprobs, entropies = self._engine(
            batch.tokens.to(self._device),
            batch.prompt_lengths.to(self._device),
            batch.response_mask.to(self._device),
            self._options.temperature,
        )
        return logprobs, entropies

    @torch.no_grad()
    def logprobs(
        self, tokens: Tensor, prompt_lengths: Tensor, response_mask: Tensor, temperature: float
    ) -> Tensor:
        """Log-probabilities (B, T) of all rows, in nats; each rank computes its share, all get the whole."""
        self._engine.eval()
        lengths = (prompt_lengths + response_mask.sum(1).long()).tolist()
        plan = plan_micro_batches(lengths, self._options.settings.micro_batch_tokens, self._options.num_ranks)
        result = torch.zeros_like(response_mask, dtype=torch.float32)
        for micro_batches in plan:
            rows = micro_batches[self._options.rank]
            chosen = rows or [0]
            values, _ = self._engine(
                tokens[chosen].to(self._device),
                prompt_lengths[chosen].to(self._device),
                response_mask[chosen].to(self._device),
                temperature,
            )
            if rows:
                result[rows] = values.cpu()
        if self._options.num_ranks > 1:
            result = result.to(self._device)
            dist.all_reduce(result)
        return result.cpu()

    def _set_learning_rate(self) -> None:
        """Linear warm-up to a constant rate."""
        settings = self._options.settings
        share = min(1.0, (self._num_updates + 1) / (settings.warmup_steps + 1))
        for group in self._optimizer.param_groups:
            group["lr"] = settings.learning_rate * share

    # Weights, under their checkpoint names.

    def weight_metadata(self) -> list[tuple[str, torch.dtype, tuple[int, ...]]]:
        """Name, dtype and full shape of every parameter, without gathering anything."""
        return [
            (name, parameter.dtype, tuple(getattr(parameter, "ds_shape", parameter.shape)))
            for name, parameter in self._hf_model.named_parameters()
        ]

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """Full parameters in the order of :meth:`weight_metadata`; gathering is collective.

        Raises:
            FloatingPointError: a parameter holds NaN or infinity, and must not reach an engine.
        """
        group: list[tuple[str, torch.nn.Parameter]] = []
        size = 0
        for name, parameter in self._hf_model.named_parameters():
            group.append((name, parameter))
            size += getattr(parameter, "ds_numel", parameter.numel()) * parameter.element_size()
            if size >= GATHER_BYTES:
                yield from self._gathered(group)
                group, size = [], 0
        yield from self._gathered(group)

    def _gathered(self, group: list[tuple[str, torch.nn.Parameter]]) -> Iterator[tuple[str, Tensor]]:
        sharded = self._options.settings.zero_stage == 3
        gather: Any = (
            self._deepspeed.zero.GatheredParameters([parameter for _, parameter in group])
            if sharded
            else nullcontext()
        )
        with gather:
            for name, parameter in group:
                if not torch.isfinite(parameter.data).all():
                    raise FloatingPointError(f"parameter {name} holds NaN or infinity")
                yield name, parameter.data.detach().clone() if sharded else parameter.data.detach()

    def save(self, folder: Path) -> None:
        """Write a Hugging Face folder; called on every rank, rank 0 writes."""
        state = {name: tensor.cpu() for name, tensor in self.weights()}
        if self._options.rank == 0:
            self._hf_model.save_pretrained(folder, state_dict=state)
            self._tokenizer.save_pretrained(folder)

    def close(self) -> None:
        """Leave the process group."""
        if dist.is_initialized():
            dist.destroy_process_group()


TOKEN_METRICS = (
    "policy/entropy",
    "policy/clip_share",
    "policy/ratio_mean",
    "policy/approximate_kl",
    "mismatch/logprob_abs_mean",
)
"""Means over response tokens, in the order in which _accumulate sums them."""


def deepspeed_config(options: LearnerOptions) -> dict[str, Any]:
    """DeepSpeed's own configuration.

    Micro-batches are ours: with managed_gradient_accumulation off, backward() accumulates
    and step() reduces, whatever their number.
    """
    return {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "managed_gradient_accumulation": False,
        "gradient_clipping": options.settings.max_grad_norm,
        "zero_allow_untested_optimizer": True,
        "zero_optimization": {"stage": options.settings.zero_stage},
        "bf16": {"enabled": options.dtype == "bfloat16"},
    }
