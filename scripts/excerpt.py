"""Cut a finished evaluation to its first problems and samples: ``python scripts/excerpt.py FOLDER OUTPUT [PROBLEMS] [SAMPLES]``.

What docs/first_look.ipynb reads is made by it from a study of ``make study``.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from rlvr.data.loaders import problems_hash
from rlvr.eval.discovery import stores_in
from rlvr.eval.samples import read_samples
from rlvr.eval.store import SampleStore, read_problems, write_problems
from rlvr.run_folder import SAMPLES_FILE, evaluation_folder


def excerpt(source: Path, target: Path, num_problems: int = 40, num_samples: int = 64) -> None:
    """Write the first problems of every evaluation under ``source``, with their first samples, to ``target``."""
    for store in stores_in(source):
        problems = read_problems(store.folder)[:num_problems]
        kept = {problem.id for problem in problems}
        path = store.spec.model_path
        spec = replace(
            store.spec,
            model_path=path[path.index("rlvr/") :] if "rlvr/models" in path else path[path.index("runs/") :],
            problems_sha256=problems_hash(problems),
            num_problems=len(problems),
            num_samples=num_samples,
        )
        folder = evaluation_folder(target, spec.benchmark, spec.model_name)
        out = SampleStore(folder, spec)
        write_problems(folder, problems)
        rows = [row for row in read_samples(store.folder / SAMPLES_FILE) if row.problem in kept]
        out.append(
            sorted(
                (row for row in rows if row.sample < num_samples), key=lambda row: (row.problem, row.sample)
            )
        )
        out.close()


if __name__ == "__main__":
    excerpt(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:]))
