"""Peak memory of log-probabilities with their gradients, chunked against a plain log-softmax.

The chunked side is the learner's own head (rlvr/learner/token_scores.py) at the full size, by
default 32,768 tokens × 152,064 words. The plain side holds all logits, so it runs at a smaller
number of tokens, where values and gradients of the two are also compared. Each measurement is a
process of its own; peaks are what the process grew by beyond model head and inputs.

The bound for the chunked side: six chunks of float32 logits, the float32 sum of the weight's
gradient and its copy in the weight's type, and 64 MiB for the rest. It does not grow with tokens
× vocabulary.
"""

from __future__ import annotations

import resource
import sys
import time
from typing import Any

from performance.child import measure
from performance.common import machine, machine_line, own_parser, table, write_result

TEMPERATURE = 0.9
MIB = 2**20


def main(arguments: list[str]) -> None:
    """Measure, print a table, and fail when the bound does not hold."""
    args = _arguments(arguments)
    found = machine()
    print(machine_line(found), flush=True)
    sizes = [("chunked", args.compare_tokens), ("plain", args.compare_tokens), ("chunked", args.tokens)]
    results = [
        measure(
            "performance.token_scores",
            "side",
            {"way": way, "tokens": tokens, "vocabulary": args.vocabulary, "hidden": args.hidden},
        )
        for way, tokens in sizes
    ]
    rows = [
        (
            f"{result['way']}, {result['tokens']:,} tokens",
            f"{result['peak_mib']:,.0f}",
            f"{result['bound_mib']:,.0f}" if result["way"] == "chunked" else "-",
            f"{result['logits_mib']:,.0f}",
            f"{result['seconds']:.1f}",
        )
        for result in results
    ]
    print(table(("way", "peak MiB", "bound MiB", "all logits MiB", "seconds"), rows))
    worst = {
        name: abs(results[0][name] - results[1][name]) / max(1.0, abs(results[1][name]))
        for name in ("value", "hidden_gradient", "weight_gradient")
    }
    print("relative differences at the smaller size:", ", ".join(f"{k} {v:.1e}" for k, v in worst.items()))
    write_result(args.json, {"machine": found, "results": results, "differences": worst})
    over = [
        result
        for result in results
        if result["way"] == "chunked" and result["peak_mib"] > result["bound_mib"]
    ]
    if over or max(worst.values()) > 1e-4:
        sys.exit("the bound or the equality does not hold")


def _arguments(arguments: list[str]) -> Any:
    made = own_parser("token_scores", __doc__)
    made.add_argument("--tokens", type=int, default=32_768, help="tokens of the chunked side")
    made.add_argument("--compare-tokens", type=int, default=1024, help="tokens at which both run")
    made.add_argument("--vocabulary", type=int, default=152_064, help="words (default: Qwen2.5-7B)")
    made.add_argument("--hidden", type=int, default=64, help="width of the states; time grows with it")
    return made.parse_args(arguments)


def side(settings: dict[str, Any]) -> dict[str, Any]:
    """One forward and backward pass in this process."""
    import torch

    from rlvr.learner.token_scores import CHUNK_BYTES, ScoringHead

    tokens, vocabulary, width = settings["tokens"], settings["vocabulary"], settings["hidden"]
    generator = torch.Generator().manual_seed(0)
    head = ScoringHead(width, vocabulary, bias=False)
    torch.nn.init.normal_(head.weight, std=0.3, generator=generator)
    hidden = torch.randn(tokens, width, generator=generator).requires_grad_()
    targets = torch.randint(vocabulary, (tokens,), generator=generator)
    upstream = torch.randn(tokens, generator=generator)
    inputs = (hidden, head.weight)
    torch.autograd.grad(
        head(hidden[:2], targets[:2], 1.0)[0].sum(), inputs
    )  # libraries allocate on first use

    before, started = _peak_bytes(), time.perf_counter()
    if settings["way"] == "chunked":
        scores, _ = head(hidden, targets, TEMPERATURE)
    else:
        scores = torch.log_softmax(head(hidden) / TEMPERATURE, dim=1).gather(1, targets[:, None]).squeeze(1)
    value = (scores * upstream).sum()
    hidden_gradient, weight_gradient = torch.autograd.grad(value, inputs)
    seconds, peak = time.perf_counter() - started, _peak_bytes() - before
    return {
        "way": settings["way"],
        "tokens": tokens,
        "seconds": seconds,
        "peak_mib": peak / MIB,
        "bound_mib": (6 * CHUNK_BYTES + 8 * vocabulary * width) / MIB + 64,
        "logits_mib": 4 * tokens * vocabulary / MIB,
        "value": value.item(),
        "hidden_gradient": hidden_gradient.norm().item(),
        "weight_gradient": weight_gradient.norm().item(),
    }


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
