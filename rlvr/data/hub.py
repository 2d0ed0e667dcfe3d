"""Rows of data sets on the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rlvr.data.images import undecoded
from rlvr.errors import DataError

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
