"""``rlvr distill``: fine-tune a student on a teacher's verified responses."""

from __future__ import annotations

from typing import Any

from rlvr.cli import hydra_app
from rlvr.config import DistillConfig

EXAMPLES = """\
rlvr distill: a student learns the responses of a teacher that the verifier found right.

Examples:
  rlvr distill model=STUDENT teacher=[runs/teacher] output=runs/distilled
  rlvr distill model=STUDENT teacher=[runs/a,runs/b] max_per_problem=4
  accelerate launch -m rlvr.cli.main distill model=STUDENT teacher=[runs/teacher]

The teacher's responses come from evaluations, of `rlvr evaluate` or a study: runs/teacher is the run.dir of
one. Evaluate the teacher on problems that nothing is measured on. The student is a Hugging Face folder that
`rlvr evaluate` measures and `rlvr report` puts beside the base and the RL model.
"""


def run(arguments: list[str]) -> None:
    """Run the command."""
    hydra_app.run("distill", DistillConfig, app, arguments, folder="distill", examples=EXAMPLES)


def app(config: DistillConfig, resolved: dict[str, Any]) -> None:
    """One distillation."""
    from rlvr.workflows.distill import distill_student

    if (student := distill_student(config, resolved)) is not None:
        print(f"model: {student}")
