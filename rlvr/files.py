"""Names of files, and writing them so that a crash leaves the old one or the new one, never half of one."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any


def write_json(path: Path, data: Any) -> None:
    """Write JSON durably: once this returns, the file survives a power failure."""
    write_text(path, json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write to a temporary file beside it, on disk before it takes the name."""
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    to_disk(temporary)
    temporary.replace(path)
    to_disk(path.parent)


def to_disk(path: Path) -> None:
    """Wait until the file, or the names in the folder, are on the disk itself."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def slug(text: str) -> str:
    """A file name made of ``text``: it cannot leave its folder."""
    return re.sub(r"[^\w.+-]+", "_", text).strip("._") or "default"
