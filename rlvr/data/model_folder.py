"""Model folders, checked before anything starts: their files, their weights, their identity.

What an engine would take without a word is an error here: an output head that is not in the files (it would be
noise), weights that are no numbers, an end of text that nobody knows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from transformers import AutoConfig
from transformers.utils import logging

from rlvr.errors import ModelError

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "tekken.json")
IDENTITY_FILES = (
    *("*.safetensors", "config.json", "generation_config.json", "tokenizer*", "chat_template*"),
    "*processor_config.json",
)
"""All that decides what is sampled; the engine reads tokens that end a text from generation_config.json."""
WRITERS_KEYS = ("transformers_version", "_name_or_path", "name_or_path", "is_local", "local_files_only")
"""In JSON files: what transformers notes of how it wrote or read them, which decides nothing."""
HASHED_BYTES = 1 << 24
"""Of a file of weights are in memory at a time while it is hashed."""
MODEL_DEPTHS = ("*", "*/*", "*/*/*", "*/*/*/*")
"""Where models lie in the folder of a run, of a study, or of several."""
SHOWN_MODELS = 3
PRETRAINING = Path(__file__).resolve().parents[1] / "recipes" / "pretrain" / "recipe"
WEIGHTS, INDEX = "*.safetensors", "model.safetensors.index.json"


def pretrained_by(model: str) -> str | None:
    """The recipe of `rlvr pretrain` that writes a model into this folder; None where none of ours does."""
    for path in sorted(PRETRAINING.glob("*.yaml")):
        if yaml.safe_load(path.read_text(encoding="utf-8")).get("output") == str(Path(model)):
            return path.stem
    return None


def check_model_folder(model: str) -> None:
    """Refuse a folder that is no complete Hugging Face model; a hub name passes.

    Every weight is read once for as long as the files do not change.

    Raises:
        ModelError: naming the file, or the tensor, that is missing or holds no numbers.
    """
    folder = Path(model)
    if not folder.exists():
        looks_like_hub_name = model.count("/") == 1 and not model.startswith((".", "/", "~", "runs/"))
        if looks_like_hub_name:
            return
        recipe = pretrained_by(model)
        raise ModelError(
            "the model folder does not exist",
            where=model,
            fix="check model=…"
            if recipe is None
            else f"`rlvr pretrain recipe={recipe}` makes it, in some minutes",
        )
    refuse_what_holds_models(folder)
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
    files = sorted(folder.glob(WEIGHTS))
    if not files:
        others = (
            ", ".join(sorted(path.name for path in folder.glob("*.bin"))) or "none of another kind either"
        )
        raise ModelError(
            f"the model folder has no weights as safetensors ({others})",
            where=model,
            fix="load it with transformers and save it again (model.save_pretrained): *.bin are pickles, which "
            "could run code",
        )
    asked = [*files, folder / INDEX, folder / "config.json"]
    _check_weights(
        model, tuple((str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in asked if p.exists())
    )


def refuse_what_holds_models(folder: Path) -> None:
    """Refuse the folder of a run, a study or a collection, and name the models that lie in it.

    Raises:
        ModelError: the folder itself is no model, but was made by a run or has models in it.
    """
    if any(folder.glob(WEIGHTS)) or any((folder / name).exists() for name in TOKENIZER_FILES):
        return
    config = folder / "config.json"
    is_run = config.exists() and "run" in json.loads(config.read_text(encoding="utf-8"))
    found = [path.parent for depth in MODEL_DEPTHS for path in folder.glob(f"{depth}/config.json")]
    models = sorted(
        (each for each in found if any(each.glob(WEIGHTS))), key=lambda each: -each.stat().st_mtime_ns
    )
    if models:
        named = ", or ".join(str(each) for each in models[:SHOWN_MODELS])
        raise ModelError(
            f"this is no model, but {len(models)} {'lies' if len(models) == 1 else 'lie'} in it",
            where=str(folder),
            fix=f"{named}{', …' if len(models) > SHOWN_MODELS else ''} (the newest first)",
        )
    if is_run:
        raise ModelError(
            "this is the folder of a run that has saved no model yet",
            where=str(folder),
            fix="the command of that run again, which goes on to its end; train.checkpoint_every sets when models are "
            "saved on the way",
        )


@lru_cache(maxsize=64)
def _check_weights(model: str, files: tuple[tuple[str, int, int], ...]) -> None:
    """Check names, and read every tensor. The files' sizes and times are what a check is remembered by."""
    names: set[str] = set()
    for path, _, _ in files:
        if path.endswith(".safetensors"):
            names |= _finite_names(path)
    index = Path(model) / INDEX
    if index.exists():
        listed = json.loads(index.read_text(encoding="utf-8")).get("weight_map", {})
        for name, file in listed.items():
            if name not in names:
                raise ModelError(
                    f"the weight {name} is not in {file}, although {index.name} lists it",
                    where=model,
                    fix="download or save the model again",
                )
    lacking, misshapen = _compared_with_config(model)
    if lacking:
        raise ModelError(
            f"{len(lacking)} of the model's tensors are not in the weight files: {', '.join(lacking[:3])}; noise would "
            "stand in for them",
            where=model,
            fix="download or save the model again; if the output head is the embedding, "
            '"tie_word_embeddings": true in config.json',
        )
    if misshapen:
        raise ModelError(
            f"{len(misshapen)} of the model's tensors have other shapes than config.json says: {', '.join(misshapen[:3])}",
            where=model,
            fix="the config.json that belongs to these weights",
        )


def _compared_with_config(model: str) -> tuple[list[str], list[str]]:
    """Tensors that the config asks for and the files lack, and those of another shape, by the headers alone.

    A model that transformers cannot lay out here, such as one of a quantisation whose package is not installed, is
    left to the engine.
    """
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    config = AutoConfig.from_pretrained(model)
    kind: Any = AutoModelForImageTextToText if hasattr(config, "vision_config") else AutoModelForCausalLM
    try:
        with _silent_transformers():
            _, report = kind.from_pretrained(
                model,
                config=config,
                use_safetensors=True,
                device_map="meta",
                output_loading_info=True,
                ignore_mismatched_sizes=True,
            )
    except (ImportError, ValueError):
        return [], []
    except OSError as error:
        raise ModelError(
            f"the weights cannot be read: {str(error).splitlines()[0]}",
            where=model,
            fix="download the model again",
        ) from error
    return sorted(report["missing_keys"]), sorted(str(name) for name, *_ in report["mismatched_keys"])


@contextmanager
def _silent_transformers() -> Iterator[None]:
    """Keep its progress bar, and its own report of the same, out of a command's output."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _finite_names(path: str) -> set[str]:
    """Names of the tensors of one file, each of which was read and holds numbers only."""
    import torch
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            names = set(file.keys())
            for name in sorted(names):
                tensor = file.get_tensor(name)
                # Formats of one byte have few operations; their sum in a wider one is as good.
                wide = tensor.float() if tensor.is_floating_point() and tensor.element_size() == 1 else tensor
                if wide.is_floating_point() and not bool(torch.isfinite(wide).all()):
                    raise ModelError(
                        f"the weight {name} holds NaN or infinity",
                        where=path,
                        fix="an earlier checkpoint: this model was saved after its training had diverged",
                    )
    except SafetensorError as error:
        raise ModelError(
            f"the file is no safetensors: {error}", where=path, fix="download or save the model again"
        ) from error
    return names


def check_end_of_text(tokenizer: Any, model: str) -> None:
    """Refuse a tokenizer without a token that ends a text: every response would run to its limit.

    Raises:
        ModelError: there is none.
    """
    if tokenizer.eos_token_id is None:
        raise ModelError(
            "the tokenizer names no token that ends a text (eos_token)",
            where=model,
            fix="eos_token in tokenizer_config.json: the token that its chat template or its training ends a text with",
        )


def model_hash(model: str) -> str:
    """SHA-256 over the files of a model folder; of the name itself for a hub model.

    The files are read once for as long as they do not change.
    """
    paths = sorted({path for pattern in IDENTITY_FILES for path in Path(model).glob(pattern)})
    files = tuple((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths)
    return _hash("" if Path(model).exists() else model, files)


@lru_cache(maxsize=64)
def _hash(name: str, files: tuple[tuple[str, int, int], ...]) -> str:
    """Of a name and of files. Their sizes and times are what a hash is remembered by."""
    digest = hashlib.sha256(name.encode())
    for path, _, _ in files:
        digest.update(Path(path).name.encode())
        with Path(path).open("rb") as file:
            while part := file.read(HASHED_BYTES):
                digest.update(part)
    return digest.hexdigest()


def differ_in_weights_alone(first: str, second: str) -> bool:
    """Whether two model folders have the same architecture and tokenizer, so that an engine can go from one to the other.

    False where that cannot be seen: of a hub name, or of files that mean the same in other words.
    """
    contents = []
    for model in (first, second):
        paths = {path for pattern in IDENTITY_FILES for path in Path(model).glob(pattern) if path.is_file()}
        contents.append({path.name: _content(path) for path in paths if not path.match(WEIGHTS)})
    return "config.json" in contents[0] and contents[0] == contents[1]


def _content(path: Path) -> Any:
    """What a file says; of a JSON file without what only notes who wrote it."""
    content = path.read_bytes()
    if path.suffix != ".json":
        return content
    values = json.loads(content)
    return {key: value for key, value in values.items() if key not in WRITERS_KEYS}
