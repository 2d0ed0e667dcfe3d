"""Names, colours and numbers as a reader sees them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rlvr.eval.names import family_of, seed_of
from rlvr.eval.statistics import Crossing, Interval

DISPLAY_NAMES = {
    "base": "Base",
    "ppo": "PPO",
    "grpo": "GRPO",
    "rloo": "RLOO",
    "remax": "ReMax",
    "reinforce_pp": "Reinforce++",
    "dapo": "DAPO",
}
"""How the algorithms are written in their papers; other names stay as they are."""

MODEL_COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MODEL_MARKERS = ("s", "^", "D", "v", "P", "X")
COLOURS = ("#4d4d4d", *MODEL_COLOURS, "#8c6d31", *MODEL_COLOURS)
"""Okabe and Ito's colour-blind-safe palette by style: the base is grey, the models trained from it are coloured."""
MARKERS = ("o", *MODEL_MARKERS, "*", *MODEL_MARKERS)
"""Matplotlib markers in the same order, so that colour never carries the meaning alone."""

GUESS_STYLE = 7
"""Kept for the guess baseline; the styles above it have the models' colours again, with dashed lines."""


def style_of(index: int) -> int:
    """Style of the model at this position: 0 for the base, then the twelve of trained models over and over."""
    if index == 0:
        return 0
    style = 1 + (index - 1) % (2 * len(MODEL_COLOURS))
    return style if style < GUESS_STYLE else style + 1


def is_dashed(style: int) -> bool:
    """Whether this style is the second one of its colour."""
    return style > GUESS_STYLE


def model_styles(names: Sequence[str]) -> dict[str, int]:
    """The style of each model, the base first: the runs of a family share theirs, which is found by its name too."""
    styles = {family: style_of(i) for i, family in enumerate(dict.fromkeys(map(family_of, names)))}
    return styles | {name: styles[family_of(name)] for name in names}


def label(name: str) -> str:
    """A model's or algorithm's name for display; what follows the first word stays as it is."""
    if (found := seed_of(name)) is not None:
        return f"{label(found[0])}, seed {found[1]}"
    word, space, rest = name.partition(" ")
    return DISPLAY_NAMES.get(word, word) + space + rest


def number(value: float, digits: int = 3, signed: bool = False) -> str:
    """A number with a true minus sign; a rounded zero has no sign of its own."""
    text = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
    if float(text) == 0:
        text = f"{0:.{digits}f}"
    return text.replace("-", "−")


def bracket(value: Interval, digits: int = 3, signed: bool = False) -> str:
    """``0.551 [0.524, 0.578]``."""
    parts = [number(part, digits, signed) for part in (value.estimate, value.low, value.high)]
    return f"{parts[0]} [{parts[1]}, {parts[2]}]"


def k_text(value: float | None, absent: str = "none") -> str:
    """A place on the k axis that need not be a whole number, such as a crossing."""
    return absent if value is None else f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def significant(value: float) -> str:
    """Four significant digits for quantities of unknown scale; plain where that is readable."""
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e6:
        return f"{value:,.4g}".replace("-", "−") if abs(value) < 1e4 else f"{value:,.0f}".replace("-", "−")
    return f"{value:.2e}".replace("-", "−")


def p_value(value: float) -> str:
    """``p = 0.034``, or ``p < 0.001``."""
    text = "p < 0.001" if value < 0.001 else f"p = {value:.3f}"
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def listed(names: Sequence[str]) -> str:
    """``A``, ``A and B`` or ``A, B and C``."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def percent(share: float, digits: int = 0) -> str:
    """``95 %`` with a space that does not break; never 0 % or 100 % for what is only close to it."""
    least = 10.0**-digits
    value = 100 * share
    if 0 < value <= least / 2:
        return f"under {least:.{digits}f}\N{NO-BREAK SPACE}%"
    if 100 - least / 2 <= value < 100:
        return f"over {100 - least:.{digits}f}\N{NO-BREAK SPACE}%"
    return f"{value:.{digits}f}\N{NO-BREAK SPACE}%"


def duration(seconds: float) -> str:
    """``2 h 05 min``, ``7 min 11 s`` or ``4.2 s``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def moment(value: Any) -> str:
    """An ISO date and time as ``2026-01-05 10:00 UTC``; anything else as it is."""
    try:
        when = datetime.fromisoformat(str(value))
    except ValueError:
        return str(value)
    if len(str(value)) <= len("2026-01-05"):
        return str(value)
    return f"{when:%Y-%m-%d %H:%M %Z}".strip()


def plain(value: Any) -> str:
    """Any configuration value as one line of text."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {plain(each)}" for key, each in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(plain(each) for each in value)
    return str(value)


def crossing_words(cross: Crossing) -> str:
    """``k ≈ 11.2 [6.1, 24]``, or ``none``."""
    if cross.at is None:
        return "none"
    return f"k ≈ {k_text(cross.at)} [{k_text(cross.low, 'beyond')}, {k_text(cross.high)}]"


def text_colour(background: str) -> str:
    """Black or white, whichever reads better on a hexadecimal colour (relative luminance)."""
    red, green, blue = (int(background[i : i + 2], 16) for i in (1, 3, 5))
    return "#111111" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "#ffffff"
