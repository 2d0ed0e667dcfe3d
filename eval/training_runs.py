"""Training chance: several runs of one recipe from different seeds, and what their mean is worth.

A model that was trained once is one draw from the models that the recipe could have made. The
mean over R runs estimates what the recipe does on average, and its error has two parts:

* *Within the runs*: which problems the benchmark holds and which samples were drawn. The runs were
  measured on the same problems, so a resample of the bootstrap draws the same ones for all of
  them, and the mean of their resampled curves is a resample of the mean (``rlvr.eval.bootstrap``).
* *Between the runs*: which runs these happen to be. Their curves differ by a standard deviation
  s(k), known from R − 1 degrees of freedom only. Each resample is moved by s(k) / √R times a draw
  from Student's t with R − 1 degrees of freedom.

The move is made of the runs' own deviations with random weights, the same weights at every k. So
any sum of values along the curve, and any difference to a model that is not among the runs, moves by
Student's t with the standard deviation that this very quantity has between the runs. Curves,
paired differences, bands, the crossing and the sampling-efficiency gap of the mean are therefore
read off these resamples by the functions that serve a single model. With both parts present their
sum has the Behrens-Fisher distribution.

What the runs differ by contains the noise of their samples as well, which the first part has already.
It is counted twice, and the intervals are a little conservative: ``python -m performance interval_coverage``.
Student's t assumes that the runs' curves scatter about normally. At 95 % its quantile is 12.7 for
two runs, 4.3 for three and 2.8 for five, where certainty about s would give 2.0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rlvr.eval.bootstrap import Replicates
from rlvr.eval.names import seed_of


def families(names: Sequence[str]) -> dict[str, list[int]]:
    """Places of the runs of each family that has at least two, in the order of the names."""
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        if (found := seed_of(name)) is not None:
            places.setdefault(found[0], []).append(place)
    return {family: found for family, found in places.items() if len(found) > 1}


def with_mean(replicates: Replicates, runs: Sequence[int], rng: np.random.Generator) -> Replicates:
    """Add the mean of some models as one more model, the last.

    Args:
        replicates: of M models.
        runs: places of the R >= 2 runs among them.
        rng: source of the draws between the runs.

    Returns:
        Replicates of M + 1 models, with resamples of the mean as the module's docstring says.
    """
    places = list(runs)
    estimate_rk = replicates.estimate[places]
    mean_k = estimate_rk.mean(axis=0)
    num_resamples = replicates.resampled.shape[1]
    # Σ_r z_r (X_r − X̄) has variance (R − 1) s²; the root of chi-square makes s times Student's t of it.
    chi_square_b = np.asarray(rng.chisquare(len(places) - 1, size=num_resamples))
    weights_br = rng.standard_normal((num_resamples, len(places)))
    weights_br /= np.sqrt(len(places) * chi_square_b)[:, None]
    moved_bk = weights_br @ (estimate_rk - mean_k)
    # Student's t has long tails, but no pass@k lies outside [0, 1].
    between_bk = np.clip(moved_bk, -mean_k, 1 - mean_k)
    resampled_bk = replicates.resampled[places].mean(axis=0) + between_bk
    return Replicates(
        replicates.ks,
        np.concatenate([replicates.estimate, mean_k[None]]),
        np.concatenate([replicates.resampled, resampled_bk[None]]),
    )
