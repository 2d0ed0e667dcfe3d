"""What the paper reports, to stand beside a run's own numbers.

Source: "Does Reinforcement Learning Really Incentivize Reasoning Capacity in LLMs Beyond
the Base Model?", arXiv 2504.13837, v5, Table 3: Qwen2.5-7B, pass@1 and pass@256 in percent.
Another model, other problems and another prompt: for orientation, never for comparison.
"""

from __future__ import annotations

from dataclasses import dataclass

from rlvr.eval.report.html import Cell

MODEL = "Qwen2.5-7B"
SOURCE = "arXiv 2504.13837 (v5), Table 3: Qwen2.5-7B trained on Omni-MATH-Rule"
BENCHMARKS = ("Omni-MATH train", "Omni-MATH test", "MATH500")
NOTE = (
    "The paper's text gives ΔSE as 43.9 (GRPO) to 42.6 (RLOO); its own table, from which the numbers here "
    "are computed, gives 44.0 (GRPO), 41.0 (RLOO) and up to 45.3 (ReMax) on the Omni-MATH test split. On MATH500 "
    "every RL model exceeds the base at k = 256: the crossing is absent there."
)


@dataclass(frozen=True, slots=True)
class ReferenceRow:
    """One algorithm of the paper: (pass@1, pass@256) per benchmark, in percent."""

    name: str
    cells: tuple[tuple[float, float], tuple[float, float], tuple[float, float]]

    def gap(self, benchmark: int) -> float:
        """ΔSE = pass@256(base) − pass@1(this row), in points, from the table's own numbers."""
        return TABLE[0].cells[benchmark][1] - self.cells[benchmark][0]


IN_DOMAIN, OUT_OF_DOMAIN = 1, 2
"""The columns that stand beside a run's own: held-out problems of the training set's kind, and of another."""

TABLE = (
    ReferenceRow("base", ((9.9, 67.2), (10.2, 69.1), (34.5, 96.2))),
    ReferenceRow("grpo", ((26.1, 66.3), (25.1, 68.3), (74.4, 97.2))),
    ReferenceRow("ppo", ((27.2, 65.8), (26.8, 69.2), (75.2, 97.2))),
    ReferenceRow("remax", ((24.4, 65.5), (23.8, 67.5), (73.5, 96.6))),
    ReferenceRow("rloo", ((28.6, 66.4), (28.1, 69.2), (75.0, 97.4))),
    ReferenceRow("reinforce_pp", ((28.2, 67.7), (28.0, 69.7), (75.4, 96.8))),
    ReferenceRow("dapo", ((31.4, 66.1), (26.5, 67.0), (75.6, 96.4))),
)

STEPS_SOURCE = "arXiv 2504.13837 (v5), Table 4: GRPO over training, Qwen2.5-7B on Omni-MATH-Rule"
STEPS = (
    (0, TABLE[0]),
    (150, TABLE[1]),
    (300, ReferenceRow("grpo", ((33.6, 65.3), (27.1, 66.6), (75.4, 96.0)))),
    (450, ReferenceRow("grpo", ((42.5, 64.3), (28.3, 63.9), (76.3, 95.4)))),
)
"""(training step, row); step 150 is the row of Table 3, step 0 its base model."""


COVERAGE_SOURCE = (
    "The first two rows: arXiv 2504.13837 (v5), Table 2. The last one: an independent reproduction with Qwen2.5-7B and "
    "SimpleRL-Zoo, github.com/cc1107yss/limit-of-rlvr-qwen7b-math500-reproduction; there the curves cross between k = 8 and 16, and "
    "the difference at 128 is −3.2 points [−5.0, −1.4]."
)
SOLVED_SETS = (
    "On problems 400 to 450 of LiveCodeBench the paper's base model solves 23 and the trained one 20; only the base solves "
    "409, 432, 436 and 448, only the trained model 430."
)


@dataclass(frozen=True, slots=True)
class ReferenceCoverage:
    """Who solves the problems of a benchmark in the paper: shares in percent, from k samples each."""

    benchmark: str
    k: int
    shares: tuple[float, float, float, float]
    """Solved by both, by the base only, by the trained model only, by neither."""


COVERAGE = (
    ReferenceCoverage("AIME24", 1024, (63.3, 13.3, 0.0, 23.3)),
    ReferenceCoverage("MATH500", 128, (92.4, 3.6, 1.0, 3.0)),
    ReferenceCoverage("MATH500, reproduced", 128, (92.4, 3.8, 0.6, 3.2)),
)


def row_of(name: str) -> ReferenceRow | None:
    """The paper's row for a model, by the first word of its name; None if it reports none."""
    return next((row for row in TABLE if row.name == name.partition(" ")[0]), None)


def reference_cells(row: ReferenceRow, benchmark: int) -> list[Cell]:
    """One benchmark of the paper's table: pass@1 / pass@256, and the gap."""
    one, many = row.cells[benchmark]
    return [Cell(f"{one:.1f} / {many:.1f}", one), Cell(f"{row.gap(benchmark):.1f}", row.gap(benchmark))]
