"""The shipped base is what its model card says, and the card's numbers keep to the criteria that it was chosen by."""

from __future__ import annotations

import hashlib
import re

from performance.base_profile import BINS, CRITERIA
from tests.tiny import TINY

CARD = (TINY / "README.md").read_text(encoding="utf-8")
MAX_BYTES = 5_000_000


def rows(header: str) -> list[list[str]]:
    """The rows of the card's table with this header."""
    table = CARD.partition(f"| {header} |")[2].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table]


def test_the_weights_are_those_of_the_card() -> None:
    digest = hashlib.sha256((TINY / "model.safetensors").read_bytes()).hexdigest()
    assert f"`{digest}`" in CARD
    assert sum(file.stat().st_size for file in TINY.iterdir()) < MAX_BYTES


def test_the_profile_keeps_to_the_criteria() -> None:
    pass_at = {int(k): float(value) for k, value, _ in rows("k | pass@k | interval")}
    counts = {name: int(count) for name, count in rows("accuracy | problems")}
    problems = sum(counts.values())
    assert (problems, max(pass_at)) == (400, 512)
    assert len(counts) == len(BINS)
    above_half = sum(n for name, n in counts.items() if name != "0" and float(name[1:].split(",")[0]) >= 0.5)
    [guess] = re.findall(r"A blind guess reaches ([\d.]+) at k = 256", CARD)
    measured = {
        "guess_at_256": float(guess),
        "pass_at_1": pass_at[1],
        "pass_at_256": pass_at[256],
        "never_solved": counts["0"] / problems,
        "above_half": above_half / problems,
    }
    assert measured.keys() == CRITERIA.keys()
    for name, (low, high) in CRITERIA.items():
        assert low <= measured[name] <= high, name
