"""docs/reliability.md names a test of every fault; they exist."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parent
TEXT = (TESTS.parent / "docs" / "reliability.md").read_text(encoding="utf-8")
TABLE = TEXT[TEXT.index("### The test of each") : TEXT.index("## Security")]


def test_every_fault_has_a_test_that_exists() -> None:
    rows = [line.split("|")[1:3] for line in TABLE.splitlines() if line.startswith("| ")][1:]
    files = {path: path.read_text(encoding="utf-8") for path in TESTS.rglob("test_*.py")}
    functions = set(re.findall(r"^def (test_\w+)", "\n".join(files.values()), re.MULTILINE))
    assert len(rows) >= 16
    for fault, cell in rows:
        paths = re.findall(r"`([\w/]+\.py)", cell)
        assert paths, fault
        assert all((TESTS / path) in files for path in paths), fault
        whole = re.findall(r"\btest_\w+(?![\w.])", cell)
        assert set(whole) <= functions, fault
        for part in re.findall(r"…(\w+)…?", cell):
            assert any(part in name for name in functions), fault


def test_every_injected_fault_is_in_the_table() -> None:
    for path in (TESTS / "faults").glob("test_*.py"):
        assert f"faults/{path.name}" in TABLE
