"""``python -m performance``: list the measurements and run all, or one with its own arguments."""

from __future__ import annotations

import sys

from performance import (
    analysis_speed,
    base_profile,
    border,
    dealing,
    evaluate_throughput,
    gpu_check,
    interval_coverage,
    kill_evaluation,
    memory_plan,
    overlap,
    padding,
    pools_check,
    pools_model,
    prefix_sharing,
    seeded_requests,
    sharded_loading,
    soak,
    step_overhead,
    token_scores,
    train_throughput,
    verify_mutations,
    verify_throughput,
    weight_update,
)
from rlvr.errors import RlvrError

MEASUREMENTS = {
    "train_throughput": train_throughput,
    "evaluate_throughput": evaluate_throughput,
    "weight_update": weight_update,
    "verify_throughput": verify_throughput,
    "base_profile": base_profile,
    "verify_mutations": verify_mutations,
    "analysis_speed": analysis_speed,
    "interval_coverage": interval_coverage,
    "kill_evaluation": kill_evaluation,
    "prefix_sharing": prefix_sharing,
    "seeded_requests": seeded_requests,
    "dealing": dealing,
    "overlap": overlap,
    "step_overhead": step_overhead,
    "pools_model": pools_model,
    "pools_check": pools_check,
    "soak": soak,
    "token_scores": token_scores,
    "memory_plan": memory_plan,
    "gpu_check": gpu_check,
    "sharded_loading": sharded_loading,
    "padding": padding,
    "border": border,
}


def usage() -> str:
    """The list, with the first line of each docstring."""
    lines = [
        f"  {name:<20} {(module.__doc__ or '').splitlines()[0]}" for name, module in MEASUREMENTS.items()
    ]
    return "\n".join(
        [
            "python -m performance                    run all with their defaults",
            "python -m performance NAME [--help …]    run one",
            "",
            *lines,
        ]
    )


def main(arguments: list[str]) -> int:
    """Run what was asked for; 0 when it ran, whatever it measured."""
    if arguments and arguments[0] in ("-h", "--help", "--list"):
        print(usage())
        return 0
    if arguments and arguments[0] in MEASUREMENTS:
        return run(arguments[0], arguments[1:])
    if arguments and not arguments[0].startswith("-"):
        print(f"there is no measurement {arguments[0]!r}\n\n{usage()}", file=sys.stderr)
        return 2
    print(usage(), flush=True)
    codes = []
    for name in MEASUREMENTS:
        print(f"\n== {name}", flush=True)
        codes.append(run(name, arguments))  # arguments that all share, such as --model and --json
    return max(codes)


def run(name: str, arguments: list[str]) -> int:
    """Run one; 2 when it says why it cannot."""
    try:
        MEASUREMENTS[name].main(arguments)
    except RlvrError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
