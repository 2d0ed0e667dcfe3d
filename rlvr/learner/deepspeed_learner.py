"""One data-parallel rank of the learner: the policy, and where the algorithm has them a critic and a reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor
from transformers import AutoTokenizer

from rlvr.algorithms.algorithm import Algorithm, importance_weight
from rlvr.algorithms.kl import k3
from rlvr.batch import Annotations, RolloutBatch, TrainBatch
from rlvr.config import LearnerConfig
from rlvr.learner.forward import Policy
from rlvr.learner.loading import load_model, under_checkpoint_names
from rlvr.learner.lora import add_adapters, merged_parameters
from rlvr.learner.micro_batches import plan_micro_batches
from rlvr.learner.step_means import StepMeans
from rlvr.learner.trained_model import (
    FrozenModel,
    TrainedModel,
    deepspeed_config,
    full_tensors,
    join_process_group,
)
from rlvr.learner.value_model import ValueModel
from rlvr.learner.vision import ImageInputs, freeze_vision_tower

CRITIC_RATE = 10.0
"""The critic's learning rate as a multiple of the policy's, where none is given."""

RANDOM_FILE = "random-rank{rank}.pt"


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
    timeout: float
    """Seconds for a collective operation."""
    settings: LearnerConfig


class DeepSpeedLearner:
    """The models on one rank; all methods are called on every rank in the same order."""

    def __init__(self, options: LearnerOptions, algorithm: Algorithm) -> None:
        """Join the process group, load the models that the algorithm needs, build their engines."""
        settings = options.settings
        join_process_group(
            options.device,
            options.rank,
            options.num_ranks,
            options.master_address,
            options.master_port,
            settings.threads_per_learner,
            options.timeout,
        )
        torch.manual_seed(options.seed)
        self._options, self._algorithm = options, algorithm
        self._device = torch.device(options.device)
        dtype = getattr(torch, options.dtype)
        config = deepspeed_config(settings, options.dtype) if settings.zero_stage == 3 else None
        load = partial(load_model, options.model, dtype, device=options.device, sharding=config)

        self._hf_model = load()
        self._tokenizer = AutoTokenizer.from_pretrained(options.model)
        if settings.gradient_checkpointing:
            self._hf_model.gradient_checkpointing_enable()
        if settings.freeze_vision_tower:
            freeze_vision_tower(self._hf_model)
        if settings.lora_rank:
            add_adapters(self._hf_model, settings)
        self._images = ImageInputs(options.model, self._hf_model, self._device)
        self._policy = TrainedModel(Policy(self._hf_model), settings, options.dtype, settings.learning_rate)
        self._critic: TrainedModel | None = None
        if algorithm.critic is not None:
            backbone = load(head=False)
            if settings.gradient_checkpointing:
                backbone.gradient_checkpointing_enable()
            if settings.freeze_vision_tower:
                freeze_vision_tower(backbone)
            rate = algorithm.critic.learning_rate
            self._critic = TrainedModel(
                ValueModel(backbone),
                settings,
                options.dtype,
                CRITIC_RATE * settings.learning_rate if rate is None else rate,
            )
        self._reference: FrozenModel | None = None
        if algorithm.needs_reference:
            self._reference = FrozenModel(Policy(load()), settings, options.dtype, self._device)

    # What the models say about a batch.

    def annotate(self, batch: RolloutBatch, old_logprobs: bool) -> Annotations:
        """Log-probabilities and values (B, T) under the weights as they are; None for what is not there."""
        seen = TrainBatch.of_tokens(batch.tokens, batch.prompt_lengths, batch.response_mask, batch.images)
        return Annotations(
            old_logprobs=self.logprobs(seen, self._options.temperature) if old_logprobs else None,
            ref_logprobs=None
            if self._reference is None
            else self._over_rows(self._scored_by(self._reference), seen),
            values=None if self._critic is None else self._over_rows(self._critic.ready(train=False), seen),
        )

    def _scored_by(
        self, policy: Callable[..., tuple[Tensor, Tensor]], temperature: float | None = None
    ) -> Callable[..., Tensor]:
        """A policy as a function from (tokens, prompt lengths, mask, images) to log-probabilities."""
        chosen = self._options.temperature if temperature is None else temperature
        return lambda tokens, prompt_lengths, mask, images: policy(
            tokens, prompt_lengths, mask, chosen, images
        )[0]

    def logprobs(self, batch: TrainBatch, temperature: float) -> Tensor:
        """Log-probabilities (B, T) of the policy, in nats."""
        return self._over_rows(self._scored_by(self._policy.ready(train=False), temperature), batch)

    @torch.no_grad()
    def _over_rows(self, model: Callable[..., Tensor], batch: TrainBatch) -> Tensor:
        """A forward pass over all rows: each rank computes its share, all get the whole."""
        result = torch.zeros_like(batch.response_mask, dtype=torch.float32)
        for rows, micro in self._micro_batches(batch):
            found = model(
                micro.tokens, micro.prompt_lengths, micro.response_mask, self._images.inputs(micro.images)
            )
            if rows:
                result[rows, : found.shape[1]] = found.cpu()
        if self._options.num_ranks > 1:
            result = result.to(self._device)
            dist.all_reduce(result)
        return result.cpu()

    def _micro_batches(
        self, batch: TrainBatch, first: Tensor | None = None
    ) -> Iterator[tuple[list[int], TrainBatch]]:
        """This rank's rows, and those rows on the device; the rows of ``first`` (B,) before the others, not among them.

        A rank without rows still joins the collectives: it gets the first row, which nobody counts.
        """
        settings, num_ranks = self._options.settings, self._options.num_ranks
        lengths = batch.lengths.tolist()
        first = torch.ones(len(lengths), dtype=torch.bool) if first is None else first
        for part in (first, ~first):
            members = part.nonzero().flatten().tolist()
            plan = plan_micro_batches(
                [lengths[row] for row in members], settings.micro_batch_tokens, num_ranks
            )
            for micro_batches in plan:
                rows = [members[place] for place in micro_batches[self._options.rank]]
                yield rows, batch.rows(rows or [0]).to(self._device)

    # Learning.

    def update(self, minibatches: Sequence[TrainBatch], value_only: bool) -> dict[str, float]:
        """One optimizer step per minibatch, of the policy (unless ``value_only``) and of the critic.

        Returns:
            Metrics, the same on every rank: means over tokens of the step, except losses and
            gradient norms, which are means over optimizer steps.
        """
        means = StepMeans(self._device)
        trained = [model for model in (None if value_only else self._policy, self._critic) if model]
        for model in trained:
            model.ready(train=True)
        for minibatch in minibatches:
            # Rows without an advantage, such as those of a group of equal rewards, mostly have no gradient. Kept
            # together, they make micro-batches whose backward pass can be left out.
            has_advantage = ((minibatch.advantages != 0) & (minibatch.loss_weights != 0)).any(1)
            for number, (rows, micro) in enumerate(self._micro_batches(minibatch, has_advantage)):
                if not value_only:
                    self._policy_backward(micro, bool(rows), means, needed=number == 0)
                if self._critic is not None:
                    self._value_backward(self._critic, micro, bool(rows), means)
            if not value_only:
                means.add_step("policy", self._policy.step())
            if self._critic is not None:
                means.add_step("critic", self._critic.step())
        metrics = means.reduced(len(minibatches))
        if not value_only:
            metrics["policy/learning_rate"] = self._policy.learning_rate
        if (square := metrics.pop("mismatch/importance_weight_square", 0.0)) > 0:
            # Kish's: (Σw)² / (n Σw²), of the tokens that have a weight in the loss; 1 but for rounding where all are equal.
            share = metrics["mismatch/importance_weight_mean"] ** 2 / square
            metrics["mismatch/effective_sample_share"] = min(1.0, share)
        return metrics

    def _policy_backward(self, micro: TrainBatch, counts: bool, means: StepMeans, needed: bool) -> None:
        """Forward and, if ``needed`` or if any token of any rank has a gradient, backward."""
        weights = micro.loss_weights * counts
        logprobs, entropies = self._policy.engine(
            micro.tokens,
            micro.prompt_lengths,
            micro.response_mask,
            self._options.temperature,
            self._images.inputs(micro.images),
        )
        now = logprobs.detach()
        leaves = [each.detach().clone().requires_grad_() for each in (logprobs, entropies)]
        output = self._algorithm.token_loss(leaves[0], micro, leaves[1])
        loss = (output.loss * weights).sum()
        # The loss depends on the model through these alone, so their gradients are all it needs.
        gradients: tuple[Tensor | None, ...] = torch.autograd.grad(loss, leaves, allow_unused=True)
        used = [
            (each, gradient)
            for each, gradient in zip((logprobs, entropies), gradients, strict=True)
            if gradient is not None
        ]
        if needed or self._on_any_rank(torch.stack([gradient.any() for _, gradient in used]).any()):
            self._policy.backward(torch.stack([(each * gradient).sum() for each, gradient in used]).sum())

        means.add_loss("policy/loss", loss)
        old = now if micro.old_logprobs is None else micro.old_logprobs
        tokens = {
            "policy/entropy": entropies,
            "policy/clip_share": output.clipped,
            "policy/ratio_mean": output.ratio,
            "policy/approximate_kl": old - now,
            "mismatch/logprob_abs_mean": (old - micro.rollout_logprobs).abs(),
            "mismatch/kl": k3(micro.rollout_logprobs - old),
        }
        if self._algorithm.importance_cap is not None:
            cap = self._algorithm.importance_cap
            factor = importance_weight(old, micro.rollout_logprobs, cap)
            tokens |= {
                "mismatch/importance_weight_mean": factor,
                "mismatch/importance_weight_square": factor.square(),
                "mismatch/capped_share": (factor >= cap).float(),
            }
        if micro.ref_logprobs is not None:
            tokens["reference/kl"] = k3(now - micro.ref_logprobs)
        means.add_tokens(tokens, weights > 0)
        means.add_max("policy/ratio_max", output.ratio, weights > 0)

    def _on_any_rank(self, flag: Tensor) -> bool:
        """Whether a condition holds on one rank at least: ranks must agree on what is a collective operation."""
        if self._options.num_ranks > 1:
            flag = flag.to(torch.uint8)
            dist.all_reduce(flag, op=dist.ReduceOp.MAX)
        return bool(flag)

    def _value_backward(
        self, critic: TrainedModel, micro: TrainBatch, counts: bool, means: StepMeans
    ) -> None:
        assert self._algorithm.critic is not None
        assert micro.values is not None
        assert micro.returns is not None
        assert micro.value_weights is not None
        weights = micro.value_weights * counts
        values = critic.engine(
            micro.tokens, micro.prompt_lengths, micro.response_mask, self._images.inputs(micro.images)
        )
        loss = (self._algorithm.critic.value_loss(values, micro.values, micro.returns) * weights).sum()
        critic.backward(loss)
        means.add_loss("critic/value_loss", loss)

    # Weights, under their checkpoint names.

    def weight_metadata(self) -> list[tuple[str, torch.dtype, tuple[int, ...]]]:
        """Name, dtype and full shape of every tensor of :meth:`weights`, without gathering anything."""
        laid_out = (
            (name, torch.empty(getattr(each, "ds_shape", each.shape), dtype=each.dtype, device="meta"))
            for name, each in self._parameters()
        )
        return [
            (name, tensor.dtype, tuple(tensor.shape))
            for name, tensor in under_checkpoint_names(self._hf_model, laid_out)
        ]

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """Full policy parameters in the order of :meth:`weight_metadata`; gathering is collective.

        Raises:
            WeightUpdateError: a parameter holds NaN or infinity, and must reach neither an engine nor a file.
        """
        return under_checkpoint_names(self._hf_model, self._full_parameters())

    def _full_parameters(self) -> Iterator[tuple[str, Tensor]]:
        return full_tensors(self._parameters(), self._options.settings.zero_stage == 3)

    def _parameters(self) -> Iterator[tuple[str, Tensor]]:
        if self._options.settings.lora_rank:
            return merged_parameters(self._hf_model)
        return self._hf_model.named_parameters()

    def save(self, folder: Path) -> None:
        """Write a Hugging Face folder; called on every rank, rank 0 writes."""
        is_writer = self._options.rank == 0
        # Every rank takes part in gathering; the whole is kept where it is written.
        state = {name: tensor.cpu() for name, tensor in self._full_parameters() if is_writer}
        if is_writer:
            self._hf_model.save_pretrained(folder, state_dict=state)
            self._tokenizer.save_pretrained(folder)
            self._images.save(folder)

    # Everything that training goes on from.

    def save_state(self, folder: Path) -> None:
        """Write models, optimizers and this rank's random state; called on every rank."""
        for name, model in self._trained().items():
            model.save_state(folder, name)
        torch.save(random_state(self._device), folder / RANDOM_FILE.format(rank=self._options.rank))

    def load_state(self, folder: Path) -> None:
        """Go on from what :meth:`save_state` wrote; called on every rank, before the first update."""
        for name, model in self._trained().items():
            model.load_state(folder, name)
        file = folder / RANDOM_FILE.format(rank=self._options.rank)
        set_random_state(torch.load(file, weights_only=True), self._device)

    def _trained(self) -> dict[str, TrainedModel]:
        models = {"policy": self._policy, "critic": self._critic}
        return {name: model for name, model in models.items() if model is not None}

    def close(self) -> None:
        """Leave the process group."""
        if dist.is_initialized():
            dist.destroy_process_group()


def random_state(device: torch.device) -> dict[str, Tensor]:
    """State of the random generators that the models can draw from."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_random_state(states: dict[str, Tensor], device: torch.device) -> None:
    """Go on drawing where :func:`random_state` was called."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)
