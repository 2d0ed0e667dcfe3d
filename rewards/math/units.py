"""Units of measurement by name: one spelling for ``km/h``, ``kilometers per hour`` and ``km h^{-1}``.

Units are told apart and never converted. Standard library only.
"""

from __future__ import annotations

import re
from collections import Counter

NAMES = {
    "m": "metre meter", "cm": "centimetre centimeter", "mm": "millimetre millimeter", "km": "kilometre kilometer",
    "nm": "nanometre nanometer", "in": "inch", "ft": "foot feet", "yd": "yard", "mi": "mile",
    "s": "second sec", "ms": "millisecond", "min": "minute", "h": "hour hr", "d": "day", "wk": "week",
    "yr": "year", "mo": "month", "g": "gram gramme", "kg": "kilogram", "mg": "milligram", "lb": "pound", "oz": "ounce",
    "L": "liter litre l", "mL": "milliliter millilitre ml cc", "gal": "gallon", "N": "newton", "J": "joule", "W": "watt",
    "kW": "kilowatt kw", "V": "volt", "A": "ampere amp", "Pa": "pascal", "Hz": "hertz hz", "K": "kelvin", "C": "coulomb",
    "mol": "mole", "eV": "electronvolt ev", "MB": "megabyte", "GB": "gigabyte", "KB": "kilobyte kb", "B": "byte",
    "$": "dollar usd buck", "¢": "cent", "€": "euro eur", "£": "gbp", "%": "percent",
    "degree": "deg", "rad": "radian", "°C": "celsius", "°F": "fahrenheit", "person": "people", "child": "children",
    "": "unit",
}  # fmt: skip
"""Symbol → its words, in the singular; a word that only says that there is a unit ("units") is none."""
SYMBOLS = {word: symbol for symbol, words in NAMES.items() for word in (symbol, *words.split())}
POWERS = {"square": 2, "sq": 2, "squared": 2, "cubic": 3, "cu": 3, "cubed": 3}
SYNONYMS = ((r"\bmph\b", "mile per hour"), (r"\bk[mp]h\b", "km per hour"), (r"\bfps\b", "foot per second"),
            (r"\bdegrees? (celsius|fahrenheit|c|f)\b", r"°\1"), (r"°\s*c(?:elsius)?\b", "°C"),
            (r"°\s*f(?:ahrenheit)?\b", "°F"))  # fmt: skip
WORD = re.compile(r"[A-Za-z°$¢€£%µ\\][A-Za-z°'’-]*|[-+]?[0-9]+|[/^*().]")


def unit_name(text: str) -> str:
    """One name for the spellings of a unit, with its powers: ``kg*m/s^2`` and ``kg m s^{-2}`` are the same."""
    text = re.sub(r"(?:\\mu|[μµ]) *(?:\\text)?[ {]*", "µ", text)
    for written, meant in (
        (r"\text", " "),
        ("{", ""),
        ("}", ""),
        (r"\cdot", "*"),
        (r"^\circ", "°"),
        (r"\circ", "°"),
    ):
        text = text.replace(written, meant)
    for pattern, replacement in SYNONYMS:
        text = re.sub(pattern, replacement, text, flags=re.IGNORECASE)
    powers: Counter[str] = Counter()
    sign, pending, last = 1, 1, ""
    found = WORD.findall(re.sub(r"(?<=[a-z])\.(?=[a-z]|\s|$)", " ", text))
    for index, word in enumerate(found):
        if word in ("/", "per") or (word.lower() in ("a", "an") and index):
            sign = -1
        elif word.lower() in POWERS:
            if word.lower() in ("squared", "cubed") and last:
                powers[last] += sign * (POWERS[word.lower()] - 1)
            else:
                pending = POWERS[word.lower()]
        elif word.lstrip("+-").isdigit():
            if last:
                powers[last] += sign * (int(word) - 1)
                last = ""
        elif word not in ("^", "*", "(", ")", "."):
            last = singular(word)
            powers[last] += sign * pending
            pending = 1
    return "*".join(
        f"{name}^{power}" if power != 1 else name for name, power in sorted(powers.items()) if name
    )


def is_known(word: str) -> bool:
    """Whether a word is a unit of measurement, in any number."""
    return word in ("mph", "kph", "kmh", "fps", "degrees") or singular(word) in NAMES


def singular(word: str) -> str:
    """The symbol or singular of one word; letter case counts in symbols only (mW is not MW)."""
    if word in SYMBOLS:
        return SYMBOLS[word]
    lower = word.lower()
    for end, replacement in (("", ""), ("s", ""), ("es", ""), ("ies", "y")):
        stem = lower.removesuffix(end) + replacement
        if (
            lower.endswith(end)
            and stem in SYMBOLS
            and (len(stem) > 2 or word.islower() or stem in ("cm", "km"))
        ):
            return SYMBOLS[stem]
    if len(word) <= 2 or (word.isupper() and len(word) <= 3):
        return word
    for end, replacement in (
        ("ies", "y"),
        ("sses", "ss"),
        ("xes", "x"),
        ("ches", "ch"),
        ("shes", "sh"),
        ("s", ""),
    ):
        if lower.endswith(end) and not lower.endswith("ss"):
            return lower.removesuffix(end) + replacement
    return lower
