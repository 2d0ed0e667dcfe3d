"""Model folders that lack something: each function spoils a copy of a whole one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file


def rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Change the weights of a folder."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def merge(path: Path, **changes: object) -> None:
    """Change keys of a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def poison(value: float) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        rewrite(
            folder, lambda tensors: tensors["model.layers.1.mlp.up_proj.weight"].view(-1)[-1].fill_(value)
        )

    return spoil


def without_head(folder: Path) -> None:
    rewrite(folder, lambda tensors: tensors.pop("lm_head.weight"))


def without_a_layers_part(folder: Path) -> None:
    rewrite(folder, lambda tensors: tensors.pop("model.layers.1.mlp.up_proj.weight"))


def with_half_an_embedding(folder: Path) -> None:
    name = "model.embed_tokens.weight"
    rewrite(folder, lambda tensors: tensors.update({name: tensors[name][::2].contiguous()}))


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def truncated(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])


def not_in_its_shard(folder: Path) -> None:
    words = {"weight_map": {"model.norm.weight": "model.safetensors", "other.weight": "model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(words))


def without_end(folder: Path) -> None:
    merge(folder / "tokenizer_config.json", eos_token=None)
