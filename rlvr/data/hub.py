"""Rows of data sets on the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rlvr.data.images import undecoded
from rlvr.errors import DataError


@dataclass(frozen=True, slots=True)
class HubSource:
    """A data set on the Hugging Face hub, or files that ``datasets`` reads as JSON lines."""

    repo: str = ""
    config: str | None = None
    split: str = "test"
    files: tuple[str, ...] = ()
    """Addresses of JSON lines, for sets that are published as plain files."""

    @property
    def address(self) -> str:
        """For people and error messages."""
        return " + ".join(self.files) or "/".join(word for word in (self.repo, self.config) if word)


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
            table = datasets.load_dataset("json", data_files=list(source.files), split="train")
        else:
            table = datasets.load_dataset(source.repo, source.config, split=source.split)
    except Exception as error:  # the client raises many types for "no network"
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"the set cannot be fetched from the hub: {reason}",
            where=source.address,
            fix=f"try again with a network; or {otherwise}",
        ) from error
    for number, row in enumerate(undecoded(table), start=1):
        yield row, f"{source.address}, row {number}"
