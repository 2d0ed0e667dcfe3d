"""Is the reasoning behind right answers valid? By solution graphs, or by people; kept beside the samples."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rlvr.errors import ConfigError
from rlvr.eval import audit
from rlvr.eval.audit import Audit
from rlvr.eval.loading import load_results
from rlvr.eval.store import Evaluation


@dataclass(frozen=True, slots=True)
class Audited:
    """One evaluation and the verdicts on the reasoning behind its right answers."""

    evaluation: Evaluation
    audit: Audit

    @property
    def num_judged(self) -> int:
        """Right answers whose reasoning was judged."""
        return len(self.audit.rows)

    @property
    def num_valid(self) -> int:
        """Of them with valid reasoning."""
        return sum(row.chain for row in self.audit.rows)

    @property
    def num_hardest(self) -> int:
        """Problems that are solved, but rarely."""
        return len(audit.hardest(self.evaluation))

    @property
    def num_judged_on_hardest(self) -> int:
        """Right answers to those that were judged."""
        return len(self._on_hardest())

    @property
    def num_valid_on_hardest(self) -> int:
        """Of them with valid reasoning."""
        return sum(chain for _, chain in self._on_hardest())

    @property
    def num_hardest_with_valid(self) -> int:
        """Of those problems the ones with valid reasoning behind a right answer."""
        return len({problem for problem, chain in self._on_hardest() if chain})

    def _on_hardest(self) -> list[tuple[str, bool]]:
        hardest = set(audit.hardest(self.evaluation))
        return [(row.problem, row.chain) for row in self.audit.rows if row.problem in hardest]


def audit_reasoning(folders: Sequence[Path], benchmarks: Sequence[str] = ()) -> list[Audited]:
    """What `rlvr audit FOLDERS` does: judge every right answer's steps on its problem's solution graph.

    Args:
        folders: studies, evaluations, or folders that hold such.
        benchmarks: names of those to audit; all by default.

    Raises:
        ConfigError: there is no evaluation, or no such benchmark.
        DataError: a problem has no solution graph.
    """
    found = [
        (evaluation, audit.judge_by_graph(evaluation, each.problems))
        for each in load_results(folders, benchmarks).benchmarks
        for evaluation in each.evaluations
    ]
    return kept(found)


def export_to_people(folders: Sequence[Path], file: Path, benchmarks: Sequence[str] = ()) -> int:
    """Write every right answer to a model's hardest problems for people to read; return how many there are.

    Raises:
        ConfigError: there is no evaluation, or no such benchmark.
    """
    results = load_results(folders, benchmarks).benchmarks
    rows = [row for each in results for row in audit.rows_to_read(each.evaluations, list(each.problems))]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    file.write_text(text, encoding="utf-8")
    return len(rows)


def take_over_from_people(
    folders: Sequence[Path], file: Path, benchmarks: Sequence[str] = ()
) -> list[Audited]:
    """Keep what people have written into an exported file.

    Raises:
        ConfigError: there is no such file, no evaluation, or no such benchmark.
        DataError: a row is malformed, or of a response that is not there.
    """
    results = load_results(folders, benchmarks).benchmarks
    if not file.is_file():
        raise ConfigError("there is no such file", where=str(file), fix="check the path")
    evaluations = [evaluation for each in results for evaluation in each.evaluations]
    return kept(zip(evaluations, audit.take_over(evaluations, audit.read_rows(file)), strict=True))


def kept(found: Iterable[tuple[Evaluation, Audit]]) -> list[Audited]:
    """Write every audit beside its samples, once all of them are made."""
    audited = [Audited(evaluation, verdicts) for evaluation, verdicts in found]
    for each in audited:
        audit.write_audit(each.evaluation.folder, each.audit)
    return audited
