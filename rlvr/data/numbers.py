"""Answers as text, whatever type a file gives them."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any


def plain(value: Any) -> str | None:
    """An answer as text: 27.0 is 27, 1e-05 is 0.00001; None for anything that is no answer, such as NaN or true."""
    if isinstance(value, bool) or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if isinstance(value, float):
        value = int(value) if value.is_integer() else format(Decimal(repr(value)), "f")
    text = str(value).strip() if isinstance(value, (str, int)) else ""
    return None if text in ("", "nan", "NaN") else text  # a missing cell that pandas has written as text


def is_text(text: str) -> bool:
    """Whether a text holds whole characters only: JSON may name half of one, which no file and no tokenizer takes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
