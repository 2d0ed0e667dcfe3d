r"""Wrong answers called right: small mutations of the answers of public math sets, each judged against its original.

Needs the files aime24.jsonl, amc23.jsonl, gsm8k.jsonl, math500.jsonl, minerva_math.jsonl, olympiadbench.jsonl and
omni_math_rule.jsonl in one folder (--data, or the environment variable RLVR_DATA). A mutation is one small change:

digit      one digit becomes another
sign       a plus becomes a minus or the reverse, or a minus is put in front
function   sin becomes cos, a root or a logarithm is dropped, a floor becomes a ceiling, …
bracket    an open end of an interval closes, a tuple becomes a list, a sum loses the parentheses that hold it
           together, an absolute value loses its bars
variable   a letter becomes another, or its other case
dropped    a member of a list, set, tuple or union, or a term of a sum, is left out

Mutations that are equal by mathematics are left out by how they are made: a digit is never a leading zero, a minus is not
put in front of 0, and parentheses are dropped only where a power or a factor stands beside them and a sum inside. The
few that are equal all the same (a binomial coefficient of n − k) are listed in EQUAL, each with its reason. All others
are wrong, and every one that is called right is printed.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from performance.common import table, write_result
from rlvr.config import DataConfig
from rlvr.data.benchmarks import BENCHMARKS, registered_problems
from rlvr.records import Status
from rlvr.rewards.config import JUDGES, MathConfig
from rlvr.rewards.math.form import COMMA, split
from rlvr.rewards.math.spelling import normalise
from rlvr.rewards.math.verifier import MathVerifier

SETS = ("aime24", "amc23", "gsm8k", "math500", "minerva_math", "olympiadbench", "omni_math_rule")
FUNCTIONS = {
    r"\sin": (r"\cos", r"\tan"), r"\cos": (r"\sin",), r"\tan": (r"\cot",), r"\ln": ("",), r"\log": ("",), r"\exp": (r"\ln",),
    r"\sqrt": ("",), r"\lfloor": (r"\lceil",), r"\lceil": (r"\lfloor",), r"\binom": (r"\frac",), r"\frac": (r"\binom",),
    r"\arcsin": (r"\arccos",), r"\cup": (r"\cap",), r"\le": (r"\ge", "<"), r"\ge": (r"\le", ">"), r"\max": (r"\min",),
}  # fmt: skip
LETTERS = "abcdkmnpqrstuvwxyz"
EQUAL = (
    (r"\frac{3^{n+1} + (-1)^{n+1}}{2}", r"\(-1\)\^\{n[-+][13579]\}", "powers of −1 of the same parity"),
    (r"(-1)^{\lceil n/2 \rceil-1} 2 \lceil \frac{n}{2} \rceil", r"rceil[-+][13579]\}", "the same"),
    (
        r"\left\lfloor \frac{-1 + \sqrt{1 + 8n}}{2} \right\rfloor",
        r"sqrt\{[2-8] \+ 8n\}",
        "the same floor for every integer n",
    ),
    (
        r"\frac{\left(\left\lfloor\frac{2017-1337}{2}\right\rfloor\right)}{2^{2017}}",
        r"lceil\\frac\{2017-1337|lfloor\\frac\{(?:2017-1336|2018-1337)\}",
        "340 and 340½ have the floor 340",
    ),
    (r"\binom{43}{21}-1", r"\{22\}", "binomial coefficients are symmetric"),
    (r"\binom{4025}{2013}", r"\{2012\}", "the same"),
    (r"\binom{4025}{2012}", r"\{2013\}", "the same"),
    (r"\binom{40}{10}\binom{40}{20}^{3}", r"\{30\}", "the same"),
    (r"\binom{m+n-2}{m-1}", r"\{n-1\}", "the same"),
    (r"\frac{\binom{4030}{2016}}{2^{4030}}", r"\{2014\}", "the same"),
    (r"\frac{-1}{2}+\frac{(1007)\binom{2013}{1006}}{2^{2012}}", r"\{1007\}", "the same"),
    (r"|V|^{2016}", r"V\^\{2016\}", "an even power"),
    (
        r"$x^{9900}\left(\frac{1+x^{100}}{2}\right)^{2}$ OR $\frac{1}{4} x^{9900}+\frac{1}{2} x^{10000}+\frac{1}{4} x^{10100}$",
        r"x\^\{9900\} \\frac\{1\+x\^\{100\}\}\{2\} \^\{2\}",
        "a fraction needs no parentheses below an exponent",
    ),
    (r"1\frac{4}{5}", r"1\\frac\{9\}\{5\}", "9/5 is no part of a mixed number, so this is 1 · 9/5"),
)
"""An answer, a pattern of its mutations that are equal to it, and why."""


def digits(text: str) -> Iterator[str]:
    """One digit becomes another."""
    for match in re.finditer("[0-9]", text):
        start = match.start()
        leading = not re.match("[0-9.]", text[start - 1 : start]) and text[start + 1 : start + 2].isdigit()
        for digit in "0123456789":
            if digit != match.group() and not (leading and digit == "0"):
                yield text[:start] + digit + text[start + 1 :]


def signs(text: str) -> Iterator[str]:
    """A plus becomes a minus or the reverse, or a minus is put in front."""
    for match in re.finditer("[-+]", text):
        yield text[: match.start()] + ("-" if match.group() == "+" else "+") + text[match.end() :]
    if (
        (
            not re.search(r"[,=<>]|\\(?:in|le|ge|cup|text|begin|pm|equiv)(?![a-z])|[A-Za-z]{4}", text)
            and text[0] not in "-+"
        )
        and text.strip("0.")
        and not re.search(r"[-+]", text)
    ):
        yield f"-{text}"


def functions(text: str) -> Iterator[str]:
    """A function becomes another, or is dropped."""
    for name, others in FUNCTIONS.items():
        for match in re.finditer(re.escape(name) + "(?![A-Za-z])", text):
            for other in others:
                changed = text[: match.start()] + other + text[match.end() :]
                if name in (r"\lfloor", r"\lceil"):
                    changed = (
                        changed.replace("floor", "ceil")
                        if "floor" in name
                        else changed.replace("ceil", "floor")
                    )
                yield changed


def brackets(text: str) -> Iterator[str]:
    """Ends of an interval, a tuple's parentheses, parentheses around a sum, bars of an absolute value."""
    if len(split(text[1:-1], COMMA)) == 2 and text[0] in "([" and text[-1] in ")]":
        yield {"(": "[", "[": "("}[text[0]] + text[1:]
        yield text[:-1] + {")": "]", "]": ")"}[text[-1]]
    if text[0] == "(" and text[-1] == ")" and len(split(text[1:-1], COMMA)) > 1:
        yield text[1:-1]
    for match in re.finditer(r"\(([^()]*[^()^{ ][-+][^()]*)\) ?(\^|[A-Za-z0-9(\\])", text):
        if (
            not re.search(r"\\(?:pmod|binom|cos|sin)|,", match.group())
            and text[match.start() - 1 : match.start()] not in "fgN_"
        ):
            yield text[: match.start()] + match.group(1) + text[match.end(1) + 1 :]
    for match in re.finditer(r"\|([^|]*)\|", text):
        yield text[: match.start()] + match.group(1) + text[match.end() :]


def variables(text: str) -> Iterator[str]:
    """A letter becomes another, or its other case; that of an option, (B) or (b), says nothing."""
    if text.startswith(r"\text{("):
        return
    for match in re.finditer(r"(?<![A-Za-z\\{])[A-Za-z](?![A-Za-z])|(?<=\{)[A-Za-z](?=[}+ -])", text):
        if match.group() == "e" or re.match("[0-9]", text[match.end() : match.end() + 1]):
            continue
        start, letter = match.span()[0], match.group()
        for other in (letter.swapcase(), *LETTERS):
            if other != letter:
                yield text[:start] + other + text[start + 1 :]


def dropped(text: str) -> Iterator[str]:
    """A member or a term is left out."""
    for opening, closing in ((r"\{", r"\}"), ("(", ")"), ("[", "]"), ("", "")):
        inner = text[len(opening) : len(text) - len(closing)]
        if text.startswith(opening) and text.endswith(closing) and inner:
            parts = split(inner, COMMA)
            if len(parts) > 1 and not re.fullmatch(r"[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?", text):
                for index in range(len(parts)):
                    yield opening + ",".join(parts[:index] + parts[index + 1 :]) + closing
                return
    for separator in (r"\\cup", r"\+", "(?<=[^-+*/({^,=<>])-"):
        parts = split(text, re.compile(separator))
        joint = separator.replace("\\\\", "\\").replace("\\+", "+").replace("(?<=[^-+*/({^,=<>])", "")
        if len(parts) > 1 and not re.search(r"[=<>\[]|\\(?:le|ge|equiv)|,|\|", text):
            for index in range(len(parts)):
                if parts[index].strip(" {}0"):
                    yield joint.join(parts[:index] + parts[index + 1 :])


KINDS: dict[str, Callable[[str], Iterator[str]]] = {
    "digit": digits, "sign": signs, "function": functions, "bracket": brackets, "variable": variables, "dropped": dropped,
}  # fmt: skip


def mutations(golds: list[str]) -> dict[str, list[tuple[str, str]]]:
    """(answer, mutation) by kind; each mutation is spelled differently from its answer."""
    found: dict[str, list[tuple[str, str]]] = {}
    for kind, mutate in KINDS.items():
        pairs = {
            (gold, changed): None for gold in golds for changed in mutate(normalise(gold)) if changed.strip()
        }
        found[kind] = [
            pair for pair in pairs if normalise(pair[0]) != normalise(pair[1]) and not is_equal(*pair)
        ]
    return found


def is_equal(gold: str, changed: str) -> bool:
    """Whether a mutation is equal to its answer by mathematics."""
    return any(gold == answer and re.search(pattern, changed) for answer, pattern, _ in EQUAL)


def chosen(by_kind: dict[str, list[tuple[str, str]]], count: int) -> list[tuple[str, str, str]]:
    """``count`` mutations, as many of each kind as there are up to an even share, the same ones every time."""
    rng = random.Random(0)
    rest, picked = count, []
    for left, (kind, pairs) in zip(
        range(len(by_kind), 0, -1), sorted(by_kind.items(), key=lambda item: len(item[1])), strict=True
    ):
        share = rng.sample(pairs, min(len(pairs), rest // left))
        picked += [(kind, gold, changed) for gold, changed in share]
        rest -= len(share)
    return picked


def main(words: list[str]) -> None:
    """Judge and print."""
    parser = argparse.ArgumentParser(
        prog="python -m performance verify_mutations",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", metavar="FOLDER", default=os.environ.get("RLVR_DATA"))
    parser.add_argument("--mutations", type=int, default=9480, help="how many (0: all)")
    parser.add_argument("--judge", choices=JUDGES, default="exact", help="rewards.math.judge")
    parser.add_argument("--model", help=argparse.SUPPRESS)  # shared by all benchmarks
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args(words)
    if options.data is None or not Path(options.data).is_dir():
        print("not run: --data FOLDER, or RLVR_DATA, must name a folder with the seven sets")
        return
    data = DataConfig(folder=options.data)
    golds = sorted(
        {p.ground_truth for name in SETS for p in registered_problems(BENCHMARKS[name], None, data)}
    )
    by_kind = mutations(golds)
    total = sum(map(len, by_kind.values()))
    picked = chosen(by_kind, options.mutations or total)
    started = time.monotonic()
    statuses: dict[str, Counter[Status]] = {kind: Counter() for kind in KINDS}
    right: list[dict[str, str]] = []
    with MathVerifier(MathConfig(judge=options.judge)) as verifier:
        for kind, gold, changed in picked:
            status, _ = verifier.compare(gold, changed)
            statuses[kind][status] += 1
            if status is Status.CORRECT:
                right.append({"kind": kind, "answer": gold, "mutation": changed})
    columns = (Status.CORRECT, Status.INCORRECT, Status.UNPARSED, Status.TIMEOUT, Status.ERROR)
    print(
        table(
            ("mutation", "judged", *(f"{status}" for status in columns)),
            [
                (kind, sum(counts.values()), *(counts[status] for status in columns))
                for kind, counts in statuses.items()
            ],
        )
    )
    for entry in right:
        print(f"called right: {entry['kind']:9}{entry['answer']!r} | {entry['mutation']!r}")
    print(
        f"{len(right)} of {len(picked):,} mutations of {len(golds):,} answers are called right "
        f"({time.monotonic() - started:.0f} s)"
    )
    write_result(options.json, {"judged": len(picked), "called_right": right})


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
