"""All measurements, in the order of the page and of ``summary.json``. One more is a module and a line here."""

from __future__ import annotations

from rlvr.eval.report import changes, guess, perplexity, problems, reasoning, sections, steps, temperature
from rlvr.eval.report.measurement import Measurement

MEASUREMENTS: tuple[Measurement, ...] = (
    *sections.MEASUREMENTS,
    changes.MEASUREMENT,
    guess.MEASUREMENT,
    steps.MEASUREMENT,
    reasoning.MEASUREMENT,
    temperature.MEASUREMENT,
    perplexity.MEASUREMENT,
    problems.MEASUREMENT,
)
