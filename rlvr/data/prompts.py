"""Prompts: a problem's chat messages, rendered by the tokenizer's own chat template."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoTokenizer

from rlvr.errors import ConfigError, DataError, ModelError
from rlvr.records import Problem

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "tekken.json")
WEIGHT_PATTERNS = ("*.safetensors", "config.json", "tokenizer*", "chat_template*")


class ChatRenderer:
    """Renders prompts for one model; the same object serves training and evaluation."""

    def __init__(self, tokenizer: Any) -> None:
        """Wrap a Hugging Face tokenizer that has a chat template.

        Raises:
            ModelError: it has none, or its template breaks the prefix rule.
        """
        if not tokenizer.chat_template:
            raise ModelError(
                "the tokenizer has no chat template", fix="add chat_template.jinja to the model folder"
            )
        self._tokenizer = tokenizer
        check_prefix(tokenizer)

    @property
    def identity(self) -> str:
        """The template's hash: two models with the same one are prompted alike."""
        return "chat_template:" + hashlib.sha256(self._tokenizer.chat_template.encode()).hexdigest()[:12]

    def render(self, problem: Problem) -> list[int]:
        """Prompt tokens, ending where the response begins."""
        ids: list[int] = self._tokenizer.apply_chat_template(
            [dict(message) for message in problem.prompt], add_generation_prompt=True, return_dict=False
        )
        return ids

    def text(self, problem: Problem) -> str:
        """The prompt as text, special tokens included."""
        return str(self._tokenizer.decode(self.render(problem)))


def load_renderer(model: str) -> ChatRenderer:
    """The renderer of a model folder (or hub name).

    Raises:
        ModelError: the folder does not exist or lacks a config or a tokenizer.
    """
    check_model_folder(model)
    try:
        tokenizer = AutoTokenizer.from_pretrained(model)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"the tokenizer cannot be loaded: {str(error).splitlines()[0]}", where=model
        ) from error
    return ChatRenderer(tokenizer)


def check_model_folder(model: str) -> None:
    """Refuse a folder that is no complete Hugging Face model; a hub name passes.

    Raises:
        ModelError: naming the file that is missing.
    """
    folder = Path(model)
    if not folder.exists():
        looks_like_hub_name = model.count("/") == 1 and not model.startswith((".", "/", "~", "runs/"))
        if looks_like_hub_name:
            return
        raise ModelError("the model folder does not exist", where=model, fix="check model=…")
    if not (folder / "config.json").exists():
        raise ModelError(
            "the model folder has no config.json", where=model, fix="a Hugging Face model folder"
        )
    if not any((folder / name).exists() for name in TOKENIZER_FILES):
        raise ModelError(
            "the model folder has no tokenizer",
            where=model,
            fix=f"save it beside the weights (tokenizer.save_pretrained); one of {', '.join(TOKENIZER_FILES)}",
        )


def check_prefix(tokenizer: Any) -> None:
    """Check that the ids of a prompt are a prefix of the ids of prompt + response.

    A tokenizer that merges the prompt's last token with the response's first one trains a
    model that never sees its own prompt's end.

    Raises:
        ModelError: the rule does not hold.
    """
    messages = [{"role": "user", "content": "a = 3 ; a ?"}]
    prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    prompt_ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    whole_ids = tokenizer(prompt + "a = 3", add_special_tokens=False)["input_ids"]
    if whole_ids[: len(prompt_ids)] != prompt_ids:
        raise ModelError(
            "the tokenizer merges the end of the prompt with the start of the response",
            fix="let the chat template's generation prompt end in a special token or a line break",
        )


def check_prompt_lengths(renderer: ChatRenderer, problems: Sequence[Problem], max_prompt_tokens: int) -> None:
    """Refuse prompts that are longer than the engine is told to expect.

    Raises:
        DataError: naming the longest problem.
    """
    lengths = [(len(renderer.render(problem)), problem.id) for problem in problems]
    longest, problem_id = max(lengths)
    if longest > max_prompt_tokens:
        raise DataError(
            f"the prompt has {longest} tokens, rollout.max_prompt_tokens is {max_prompt_tokens}",
            where=f"problem {problem_id}",
            fix=f"rollout.max_prompt_tokens={longest}, or leave long problems out",
        )


def check_context(model: str, num_tokens: int) -> None:
    """Refuse sequences that are longer than the model's positions.

    Raises:
        ConfigError: prompt and response together do not fit.
    """
    limit = getattr(AutoConfig.from_pretrained(model), "max_position_embeddings", None)
    if limit is not None and num_tokens > limit:
        raise ConfigError(
            f"prompt and response may take {num_tokens} tokens, the model has {limit} positions",
            where="rollout.max_prompt_tokens + the longest response",
            fix=f"together at most {limit}",
        )


def model_hash(model: str) -> str:
    """SHA-256 over the files of a model folder; of the name itself for a hub model."""
    digest = hashlib.sha256(b"" if Path(model).exists() else model.encode())
    for path in sorted({path for pattern in WEIGHT_PATTERNS for path in Path(model).glob(pattern)}):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
