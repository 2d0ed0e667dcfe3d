"""Python values as strict JSON: what crosses the border between judge and program.

Lists, strings, numbers, booleans and None are themselves. What JSON lacks is an object with one key:
``{"$tuple": […]}``, ``{"$set": […]}``, ``{"$dict": [[key, value], …]}`` for keys that are not strings,
``{"$float": "nan"}``, ``{"$complex": [re, im]}``. Anything else, such as an object of the program's own
class, has no encoding and is refused: only plain values are answers.
"""

from __future__ import annotations

import math
from typing import Any

MAX_DEPTH = 100


class NotPlainError(TypeError):
    """A value that is not plain data."""


def encode(value: Any, depth: int = 0) -> Any:
    """The JSON form of a plain value; subclasses of the built-in types lose what they override.

    Raises:
        NotPlainError: it is or contains something else, or is nested too deeply.
    """
    if depth > MAX_DEPTH:
        raise NotPlainError("nested too deeply")
    if value is None or value is True or value is False:
        return value
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        number = float.__float__(value)
        return number if math.isfinite(number) else {"$float": float.__repr__(number)}
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, complex):
        return {
            "$complex": [encode(complex.__complex__(value).real), encode(complex.__complex__(value).imag)]
        }
    if isinstance(value, dict):
        return _encode_dict(value, depth)
    if isinstance(value, list):
        return [encode(item, depth + 1) for item in list.__iter__(value)]
    if isinstance(value, tuple):
        return {"$tuple": [encode(item, depth + 1) for item in tuple.__iter__(value)]}
    if isinstance(value, (set, frozenset)):
        members = set.__iter__(value) if isinstance(value, set) else frozenset.__iter__(value)
        return {"$set": [encode(item, depth + 1) for item in members]}
    if hasattr(value, "tolist") and type(value).__module__ == "numpy":
        return encode(value.tolist(), depth + 1)
    raise NotPlainError(f"a value of type {type(value).__name__}")


def _encode_dict(value: dict[Any, Any], depth: int) -> Any:
    pairs = [[encode(key, depth + 1), encode(item, depth + 1)] for key, item in dict.items(value)]
    if all(isinstance(key, str) and not key.startswith("$") for key, _ in pairs):
        return dict(pairs)
    return {"$dict": pairs}


def decode(data: Any, depth: int = 0) -> Any:
    """Inverse of :func:`encode`.

    Raises:
        NotPlainError: a ``$`` object that has no meaning, or nesting too deep.
    """
    if depth > MAX_DEPTH:
        raise NotPlainError("nested too deeply")
    if isinstance(data, list):
        return [decode(item, depth + 1) for item in data]
    if not isinstance(data, dict):
        return data
    if len(data) == 1:
        [(name, inner)] = data.items()
        try:
            match name:
                case "$tuple":
                    return tuple(decode(item, depth + 1) for item in inner)
                case "$set":
                    return {decode(item, depth + 1) for item in inner}
                case "$dict":
                    return {decode(key, depth + 1): decode(item, depth + 1) for key, item in inner}
                case "$float":
                    return float(inner)
                case "$complex":
                    return complex(decode(inner[0]), decode(inner[1]))
        except (TypeError, ValueError, IndexError) as error:
            raise NotPlainError(f"malformed {name}: {error}") from error
    return {key: decode(item, depth + 1) for key, item in data.items()}


def same(expected: Any, found: Any, tolerance: float = 0.0) -> bool:
    """Whether two decoded values are equal: lists and tuples alike, numbers by value, NaN like NaN.

    ``tolerance`` is absolute and relative, for numbers of which one is a float.
    """
    if isinstance(expected, (list, tuple)) and isinstance(found, (list, tuple)):
        return len(expected) == len(found) and all(
            same(left, right, tolerance) for left, right in zip(expected, found, strict=True)
        )
    if isinstance(expected, dict) and isinstance(found, dict):
        return expected.keys() == found.keys() and all(
            same(item, found[key], tolerance) for key, item in expected.items()
        )
    if isinstance(expected, (bool, int, float)) and isinstance(found, (bool, int, float)):
        return _same_number(expected, found, tolerance)
    if isinstance(expected, complex) and isinstance(found, (complex, int, float)):
        return abs(expected - found) <= tolerance * max(1.0, abs(expected))
    return type(expected) is type(found) and bool(expected == found)


def _same_number(expected: float, found: float, tolerance: float) -> bool:
    if expected == found or (type(expected) is not float and type(found) is not float):
        return expected == found
    try:
        left, right = float(expected), float(found)
    except OverflowError:
        return False
    if math.isnan(left) or math.isnan(right):
        return math.isnan(left) and math.isnan(right)
    if math.isinf(left) or math.isinf(right):
        return left == right
    return tolerance > 0 and abs(left - right) <= tolerance * max(1.0, abs(left))
