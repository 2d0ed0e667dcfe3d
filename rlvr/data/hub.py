"""The Hugging Face hub: rows of data sets, and whether a model can be had."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from rlvr.data.images import undecoded
from rlvr.errors import DataError, ModelError

HUB_TIMEOUT = 10.0
"""Seconds that the hub has to answer for a model."""
NO_MODEL = "model=FOLDER, a local copy of it; or try again with a network, after which HF_HUB_OFFLINE=1 takes it from the cache"
"""What to do where a model cannot be fetched."""
KINDS = {".arrow": "arrow", ".parquet": "parquet"}
"""What ``datasets`` calls the readers of files, by their endings."""


@dataclass(frozen=True, slots=True)
class HubSource:
    """A data set on the Hugging Face hub, or files that ``datasets`` reads as JSON lines."""

    repo: str = ""
    configs: str | tuple[str, ...] | None = None
    """Name of the part that is meant, where a set has several; or names, whose rows follow each other."""
    split: str = "test"
    files: tuple[str, ...] = ()
    """Addresses of files of one kind, JSON lines, parquet or Arrow's, for sets that are read by their files."""

    @property
    def address(self) -> str:
        """For people and error messages."""
        return " + ".join(self.files) or " + ".join(
            "/".join(filter(None, (self.repo, part))) for part in self.parts
        )

    @property
    def parts(self) -> tuple[str | None, ...]:
        """Names of the parts that are read, in order."""
        return self.configs if isinstance(self.configs, tuple) else (self.configs,)


def hub_rows(source: HubSource, otherwise: str) -> Iterator[tuple[Any, str]]:
    """The rows of a set, each with the words that say where it stands.

    Args:
        source: where it is.
        otherwise: what to do where there is no network, for the message.

    Raises:
        DataError: it cannot be fetched.
    """
    import datasets

    try:
        if source.files:
            kind = KINDS.get(Path(source.files[0]).suffix, "json")
            tables = [datasets.load_dataset(kind, data_files=list(source.files), split="train")]
        else:
            tables = [datasets.load_dataset(source.repo, part, split=source.split) for part in source.parts]
    except Exception as error:  # the client raises many types for "no network"
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"the set cannot be fetched from the hub: {reason}",
            where=source.address,
            fix=f"try again with a network; or {otherwise}",
        ) from error
    for part, table in zip(source.parts, tables, strict=True):
        place = replace(source, configs=part).address
        for number, row in enumerate(undecoded(table), start=1):
            yield row, f"{place}, row {number}"


@cache
def check_hub_model(model: str) -> None:
    """Ask the hub for a model that is not in the cache, once: its client would ask a dozen times, for a minute.

    Raises:
        ModelError: there is no such model, or no network.
    """
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.constants import HF_HUB_OFFLINE

    if HF_HUB_OFFLINE or isinstance(try_to_load_from_cache(model, "config.json"), str):
        return
    try:
        HfApi().model_info(model, timeout=HUB_TIMEOUT)
    except Exception as error:  # the client raises many types for "no network"
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"there is no such folder, and the model cannot be fetched from the hub: {type(error).__name__}: {reason}",
            where=model,
            fix=NO_MODEL,
        ) from error
