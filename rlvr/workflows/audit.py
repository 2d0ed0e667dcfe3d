"""Is the reasoning behind right answers valid? By solution graphs, or by people; kept beside the samples."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rlvr.config import AuditConfig
from rlvr.errors import ConfigError
from rlvr.eval import audit
from rlvr.eval.audit import Audit
from rlvr.eval.loading import load_measured
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


def audit_reasoning(config: AuditConfig) -> list[Audited]:
    """What `rlvr audit` does: judge every right answer's steps on its problem's solution graph, or take over what people say.

    Verdicts are kept beside the samples.

    Args:
        config: ``read`` names the file that people have filled in; ``write`` is :func:`write_for_people`'s.

    Raises:
        ConfigError: there is no evaluation, no such benchmark, or no such file.
        DataError: a problem has no solution graph; or a row is malformed, or of a response that is not there.
    """
    results = load_measured(config.folders, config.benchmarks)
    evaluations = [(evaluation, each.problems) for each in results for evaluation in each.evaluations]
    if config.read is None:
        return kept([(one, audit.judge_by_graph(one, problems)) for one, problems in evaluations])
    file = Path(config.read)
    if not file.is_file():
        raise ConfigError("there is no such file", where=str(file), fix="check the path")
    measured = [evaluation for evaluation, _ in evaluations]
    return kept(zip(measured, audit.take_over(measured, audit.read_rows(file)), strict=True))


def write_for_people(config: AuditConfig) -> int:
    """Write every right answer to a model's hardest problems into ``config.write``; return how many there are.

    Raises:
        ConfigError: there is no evaluation, no such benchmark, or no file is named.
    """
    if not config.write:
        raise ConfigError("no file is named", where="write", fix="write=to_read.jsonl")
    results = load_measured(config.folders, config.benchmarks)
    rows = [row for each in results for row in audit.rows_to_read(each.evaluations, list(each.problems))]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    Path(config.write).write_text(text, encoding="utf-8")
    return len(rows)


def kept(found: Iterable[tuple[Evaluation, Audit]]) -> list[Audited]:
    """Write every audit beside its samples, once all of them are made."""
    audited = [Audited(evaluation, verdicts) for evaluation, verdicts in found]
    for each in audited:
        audit.write_audit(each.evaluation.folder, each.audit)
    return audited
