"""Groups that were sampled and are still to be trained on, as plain data: a checkpoint's ``pending.json``.

Every number is as it was. Problems and images are left out, since the stream of prompts and their files give them again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rlvr.data.images import contents_of
from rlvr.records import Completion, Problem, Rollout, RolloutGroup, Status, Verdict


def group_to_json(group: RolloutGroup) -> dict[str, Any]:
    """A group without its problem."""
    return {
        "rollouts": [asdict(rollout) for rollout in group.rollouts],
        "baseline": None if group.baseline is None else asdict(group.baseline),
    }


def group_from_json(found: Mapping[str, Any], problem: Problem) -> RolloutGroup:
    """The reverse of :func:`group_to_json`."""
    return RolloutGroup(
        problem,
        tuple(_rollout(each) for each in found["rollouts"]),
        None if found["baseline"] is None else _rollout(found["baseline"]),
        contents_of(problem),
    )


def _rollout(found: Mapping[str, Any]) -> Rollout:
    completion, verdict = dict(found["completion"]), dict(found["verdict"])
    completion["later_versions"] = tuple(map(tuple, completion.get("later_versions", ())))
    return Rollout(Completion(**completion), Verdict(**(verdict | {"status": Status(verdict["status"])})))
