"""What every refusal has in common."""

from __future__ import annotations

from tests.cli.conftest import Result

FIT = ("rollout.max_prompt_tokens=80", "rollout.max_response_tokens=128", "evaluation.max_tokens=128")
"""Words under which the tests' model has positions for everything."""


def refused(result: Result, *words: str) -> None:
    """Assert that nothing was started, and that the error says what, where and the fix in one screen with these words."""
    assert result.code == 2, result.err
    assert result.out == ""
    for word in words:
        assert word in result.err
    assert "  where: " in result.err
    assert "  fix:   " in result.err
    assert len(result.err.strip().splitlines()) <= 12
