"""Names that other tools have for our settings, so that whoever knows those is led to ours."""

from __future__ import annotations

import difflib
from collections.abc import Collection

from rlvr.errors import did_you_mean

MISSPELT = 0.8
"""Likeness from which on a key of the right section is taken for misspelt, whatever else it may mean."""
_LENGTH = ("rollout.max_response_tokens", "evaluation.max_tokens")
_GROUP = ("algorithm.group_size", "evaluation.num_samples")
_SAMPLES = ("evaluation.num_samples",)
_BATCH = ("train.prompts_per_step", "rollout.max_num_seqs")
_MINIBATCH, _MICRO_BATCH = ("train.minibatch_size",), ("learner.micro_batch_tokens",)
_STEPS, _RATE, _WARMUP = ("train.num_steps",), ("learner.learning_rate",), ("learner.warmup_steps",)
_KL, _CLIP = ("algorithm.kl.coef",), ("algorithm.clip_low",)
_MODEL, _DATA, _FOLDER = ("model",), ("data.path", "benchmark"), ("run.dir",)

OTHER_NAMES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("lr", "actor_lr", "actor_learning_rate"), _RATE),
    **dict.fromkeys(("warmup", "lr_warmup_steps", "num_warmup_steps"), _WARMUP),
    **dict.fromkeys(("batch_size", "train_batch_size", "rollout_batch_size"), _BATCH),
    **dict.fromkeys(("mini_batch_size", "ppo_mini_batch_size"), _MINIBATCH),
    **dict.fromkeys(
        (
            *("micro_batch_size", "micro_batch_size_per_gpu", "ppo_micro_batch_size_per_gpu"),
            *("per_device_train_batch_size", "gradient_accumulation_steps", "micro_train_batch_size"),
        ),
        _MICRO_BATCH,
    ),
    **dict.fromkeys(("n", "num_generations", "n_samples_per_prompt", "num_return_sequences"), _GROUP),
    **dict.fromkeys(("k", "samples", "n_samples", "repeats"), _SAMPLES),
    **dict.fromkeys(
        (
            *("max_new_tokens", "max_tokens", "max_gen_toks", "max_completion_length"),
            *("response_length", "max_response_length", "generate_max_len"),
        ),
        _LENGTH,
    ),
    **dict.fromkeys(("prompt_length", "max_prompt_length", "prompt_max_len"), ("rollout.max_prompt_tokens",)),
    **dict.fromkeys(("steps", "max_steps", "total_training_steps", "iterations"), _STEPS),
    **dict.fromkeys(("epochs", "total_epochs", "num_train_epochs"), _STEPS),
    **dict.fromkeys(("ppo_epochs", "num_iterations", "max_epochs"), ("train.num_epochs",)),
    **dict.fromkeys(("beta", "kl_coef", "kl_loss_coef", "init_kl_coef"), _KL),
    **dict.fromkeys(("clip_ratio", "cliprange", "epsilon", "eps_clip"), _CLIP),
    **dict.fromkeys(("grad_clip", "max_norm", "gradient_clipping"), ("learner.max_grad_norm",)),
    **dict.fromkeys(("lora_r", "lora_rank"), ("learner.lora_rank",)),
    **dict.fromkeys(("save_steps", "save_freq", "save_interval"), ("train.checkpoint_every",)),
    **dict.fromkeys(("output_dir", "output_path", "default_local_dir", "save_path"), _FOLDER),
    **dict.fromkeys(("run_name", "experiment_name"), _FOLDER),
    **dict.fromkeys(("model_name_or_path", "model_name", "model_path", "pretrained", "model_args"), _MODEL),
    **dict.fromkeys(("dataset", "dataset_name", "train_files", "train_file", "prompt_data"), _DATA),
    **dict.fromkeys(("task", "tasks"), ("benchmarks",)),
    **dict.fromkeys(("limit", "num_examples"), ("evaluation.limit",)),
    **dict.fromkeys(("adv_estimator", "advantage_estimator"), ("algorithm",)),
    **dict.fromkeys(("tp", "tensor_model_parallel_size"), ("rollout.tensor_parallel_size",)),
    **dict.fromkeys(("report_to", "logger", "use_wandb"), ("tracking.wandb",)),
    **dict.fromkeys(("import",), ("read",)),
    **dict.fromkeys(("export",), ("write",)),
    **dict.fromkeys(("project", "project_name"), ("tracking.wandb_project",)),
}
"""By the last part of the name: the setting in training, and the one in an evaluation where it is another."""


def meant(word: str, known: Collection[str]) -> str:
    """A hint at the key that a word is meant to be.

    Args:
        word: a key that there is not, such as ``lr`` or ``actor_rollout_ref.rollout.n``.
        known: the keys of the command, dotted.
    """
    section, (parent, _, last) = word.partition(".")[0], word.rpartition(".")
    beside = [key for key in known if parent and key.rpartition(".")[0] == parent]
    if here := [key for key in OTHER_NAMES.get(last, ()) if key in beside]:
        return f"did you mean {here[0]!r}?"
    if difflib.get_close_matches(word, beside, n=1, cutoff=MISSPELT):
        return did_you_mean(word, beside)
    there = [key for key in OTHER_NAMES.get(last, ()) if key in known]
    if there:
        if "train.num_steps" not in known:  # nothing is trained, so the last meaning is the one
            there.reverse()
        return f"did you mean {min(there, key=lambda key: not key.startswith(f'{section}.'))!r}?"
    elsewhere = sorted(key for key in known if key.rpartition(".")[2] == last)
    if 0 < len(elsewhere) <= 3:
        return f"did you mean {' or '.join(map(repr, elsewhere))}?"
    return did_you_mean(word, known)


def meant_by_flag(flag: str, known: Collection[str]) -> str | None:
    """A hint for a flag that is a setting in other tools, ``--limit 5``; None where it is none."""
    word = flag.lstrip("-").partition("=")[0].replace("-", "_")
    if word in known:
        return f"settings are words of the form key=value: {word}=…"
    is_setting = word in OTHER_NAMES or any(key.rpartition(".")[2] == word for key in known)
    return f"settings are words of the form key=value; {meant(word, known)}" if is_setting else None
