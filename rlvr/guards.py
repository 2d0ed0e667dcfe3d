"""Guards: they notice that a run has gone wrong, say what and where, and stop it before it has cost much."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from safetensors.torch import save_file

from rlvr.batch import TrainBatch
from rlvr.config import GuardsConfig
from rlvr.errors import TrainingError

BAD_BATCHES, MAX_BAD_BATCHES = "bad-batches", 5
BAD_STEPS = "bad steps in a row"


class Guards:
    """What is watched over the steps of one run."""

    def __init__(
        self, config: GuardsConfig, run: Path, report: Callable[[str], None] = lambda line: None
    ) -> None:
        """Nothing has been seen yet.

        Args:
            config: the limits.
            run: folder of the run, for batches that could not be learned from.
            report: is told what a person should know.
        """
        self._config, self._run, self._report = config, run, report
        self._jumps = {"reward/mean": config.reward_jump, "verify/error": config.error_jump}
        self._unread_was_said = False
        self.watched: dict[str, list[float]] = {BAD_STEPS: [0.0]}
        """What a checkpoint keeps: the last values of the watched metrics."""

    def restore(self, watched: Mapping[str, Sequence[float]]) -> None:
        """Go on from what a checkpoint kept."""
        self.watched |= {name: list(values) for name, values in watched.items()}

    def forget(self) -> None:
        """Compare no step to come with those so far."""
        self.watched |= {name: [] for name in self._jumps}

    def check_rollouts(self, step: int, metrics: Mapping[str, float]) -> None:
        """Look for jumps in what was sampled, before it is trained on.

        Raises:
            TrainingError: there is one, and ``guards.on_jump`` says stop.
        """
        for name, limit in self._jumps.items():
            history = self.watched.setdefault(name, [])
            value, usual = metrics[name], fmean(history or [metrics[name]])
            self.watched[name] = [*history, value][-self._config.window :]
            if len(history) == self._config.window and abs(value - usual) > limit:
                what = f"{name} is {value:.3f} at step {step}, the {len(history)} steps before it had {usual:.3f}"
                if self._config.on_jump == "stop":
                    raise TrainingError(
                        what,
                        where="guards.on_jump",
                        fix="see rollouts.jsonl for what was sampled; the same command goes on, and "
                        "guards.on_jump=warn lets it pass",
                    )
                self._report(f"{what}; see rollouts.jsonl for what was sampled")

    def check_answers(self, step: int, unread: str | None) -> None:
        """Say once in a session why hardly any response holds an answer; None where enough do."""
        if unread is not None and not self._unread_was_said:
            self._unread_was_said = True
            self._report(f"WARNING, step {step}: {unread}")

    def check_update(self, step: int, metrics: Mapping[str, float], batches: Sequence[TrainBatch]) -> None:
        """Look at what an update did, before its weights are sent anywhere.

        Raises:
            TrainingError: too many steps in a row could not be learned from, or the policy has run away.
        """
        dropped = sum(value for name, value in metrics.items() if name.endswith("/dropped_updates"))
        bad_steps = self.watched[BAD_STEPS][0] + 1 if dropped else 0.0
        self.watched[BAD_STEPS] = [bad_steps]
        if dropped:
            where = self._keep(step, batches)
            what = f"the gradient held NaN or infinity in {dropped:.0f} optimizer steps of step {step}"
            self._report(f"{what}; they were left out ({where})")
            if bad_steps >= self._config.max_bad_steps:
                raise TrainingError(
                    f"{what}, and so it was for {bad_steps:.0f} steps in a row",
                    where=where,
                    fix="a smaller learner.learning_rate, or float32 in place of bfloat16 (learner.dtype)",
                )
        ratio = metrics.get("policy/ratio_mean", 1.0)
        if not ratio <= self._config.max_ratio_mean:
            raise TrainingError(
                f"the mean importance ratio of step {step} is {ratio:.3g}: the policy has run away from the "
                "one that sampled; the weights of this step are not kept",
                where="policy/ratio_mean",
                fix="a smaller learner.learning_rate, or fewer optimizer steps (train.num_epochs, "
                f"train.minibatch_size); guards.max_ratio_mean is {self._config.max_ratio_mean:g}",
            )
        mismatch = metrics.get("mismatch/kl", 0.0)
        if mismatch > self._config.max_mismatch_kl:
            raise TrainingError(
                f"the policy of step {step} is {mismatch:.3g} nats a token away from the weights that sampled its "
                "responses; the weights of this step are not kept",
                where="mismatch/kl",
                fix="a smaller train.max_staleness or learner.learning_rate; guards.max_mismatch_kl is "
                f"{self._config.max_mismatch_kl:g}",
            )

    def _keep(self, step: int, batches: Sequence[TrainBatch]) -> str:
        """Write the minibatches of a step to a file, unless there are enough; says where they are."""
        folder = self._run / BAD_BATCHES
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"step-{step:06}.safetensors"
        if len(list(folder.glob("*.safetensors"))) >= MAX_BAD_BATCHES:
            return f"{folder} has the first {MAX_BAD_BATCHES} such batches"
        tensors = {
            f"{index}/{name}": tensor.contiguous()
            for index, batch in enumerate(batches)
            for name, tensor in batch.tensors().items()
            if tensor is not None
        }
        save_file({name: tensor.clone() for name, tensor in tensors.items()}, path)
        return str(path)
