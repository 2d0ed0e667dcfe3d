"""What ``rlvr data`` prints: benchmarks, prompts, a set, and the faults of a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from rlvr.config import BenchmarkConfig, EvaluationConfig, InspectDataConfig, as_benchmarks
from rlvr.data.benchmarks import BENCHMARKS, entry_of, load_benchmark
from rlvr.data.prompts import load_renderer, longest_prompt
from rlvr.data.templates import TEMPLATES, template
from rlvr.data.validate import validate
from rlvr.errors import ConfigError, DataError
from rlvr.records import Problem
from rlvr.rewards.config import RewardsConfig

MAX_FAULTS, SHOWN_PLACES = 20, 3
"""Kinds of fault that are listed, and rows that are named of each."""
SHOWN_CHARS = 1500


def listing() -> list[str]:
    """All benchmarks and all templates."""
    header = ("benchmark", "problems", "n", "T", "top-p", "tokens", "prompt", "verifier", "what it is")
    rows = [
        (
            entry.name,
            f"{entry.num_problems:,}" if entry.num_problems else "–",
            str(entry.plan.num_samples),
            str(entry.plan.temperature),
            str(entry.plan.top_p),
            f"{entry.plan.max_tokens:,}",
            entry.prompt,
            entry.verifier,
            entry.about,
        )
        for entry in BENCHMARKS.values()
    ]
    templates = [(each.name, each.extraction, each.source) for each in TEMPLATES.values()]
    return [
        *aligned([header, *rows]),
        "",
        *aligned([("prompt", "answer in", "where its words come from"), *templates]),
        "",
        "rlvr data show NAME shows one of them; rlvr evaluate model=FOLDER benchmark=NAME measures on it.",
    ]


def aligned(rows: list[tuple[str, ...]]) -> list[str]:
    """Rows as lines with aligned columns."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def shown(config: InspectDataConfig, subject: str) -> list[str]:
    """One benchmark or file: what it is, how it is measured, and its first problem as a model would see it."""
    [named] = as_benchmarks([subject]).values()
    named.family = config.family or named.family
    named.columns = config.columns
    entry = entry_of(named)
    benchmark = load_benchmark(named, config.data, EvaluationConfig(), config.prompt)
    plan, words_around, first = benchmark.plan, benchmark.template, benchmark.problems[0]
    source = (
        named.path or config.data.folder or (entry.source.address if entry and entry.source else "generated")
    )
    lines = [
        f"{benchmark.name}: {entry.about if entry and not named.path else 'a file of your own'}",
        f"  problems   {len(benchmark.problems):,}  ({', '.join(abilities(benchmark.problems))})",
        *(f"  note       {note}" for note in benchmark.notes),
        f"  from       {source}",
        f"  sampling   n {plan.num_samples}, temperature {plan.temperature}, top-p {plan.top_p}, "
        f"up to {plan.max_tokens:,} tokens",
        f"  prompt     {words_around.name}: {words_around.source}",
    ]
    if config.model:
        renderer = load_renderer(config.model, words_around)
        lines.append(f"  longest    {longest_prompt(renderer, benchmark.problems):,} tokens of prompt")
        rendered = renderer.text(first)
    elif words_around.is_chat:
        rendered = "\n".join(
            f"[{message['role']}] {message['content']}" for message in words_around.messages(first)
        )
    else:
        rendered = words_around.plain(first)
    truth = first.ground_truth
    return [
        *lines,
        "",
        f"problem {first.id}, as it is asked:",
        *(f"  image: {each.width} × {each.height}, {each.path}" for each in first.images),
        *(f"  {line}" for line in clipped(rendered).splitlines()),
        "",
        f"ground truth: {clipped(truth, 200)}",
    ]


def abilities(problems: Sequence[Problem]) -> list[str]:
    """Problems by the verifier that judges them."""
    return [f"{ability} {count:,}" for ability, count in Counter(each.ability for each in problems).items()]


def clipped(text: str, limit: int = SHOWN_CHARS) -> str:
    """The beginning of a long text."""
    return text if len(text) <= limit else f"{text[:limit]} … ({len(text):,} characters)"


def validate_file(config: InspectDataConfig) -> None:
    """Print what a file holds.

    Raises:
        DataError: it has faults; the first ones are listed.
    """
    path, columns = Path(str(config.subject)), config.columns
    if not path.exists() and str(path) in BENCHMARKS:
        raise ConfigError(
            f"{path} is a registered benchmark, not a file",
            where="command line",
            fix=f"rlvr data show {path}",
        )
    entry = entry_of(BenchmarkConfig(path.stem, str(path), family=config.family))
    found = validate(path, entry, RewardsConfig(), columns)
    name = config.prompt or (entry.prompt if entry else "chat")
    own = f"columns {columns.question} and {columns.answer}"
    theirs = f"{f'the columns of {entry.name}, or ' if entry else ''}verl's columns"
    read_in = theirs if columns.question is None else own
    print(f"{path}: {found.num_rows:,} rows, read in {read_in}")
    if found.problems:
        print(f"  problems   {len(found.problems):,}  ({', '.join(abilities(found.problems))})")
    if found.repeats:
        print(f"  repeats    {found.repeats:,} rows repeat another and are left out")
    if found.left_out:
        print(f"  left out   {found.left_out:,} that {entry.name if entry else ''} does not count")
    if found.problems and config.model:
        renderer = load_renderer(config.model, template(name))
        print(f"  longest    {longest_prompt(renderer, found.problems):,} tokens of prompt, prompt={name}")
    if found.as_text:
        print(
            f"  as text    {len(found.as_text):,} answers have no meaning that the verifier knows; only equal texts are right:"
        )
        reasons = [((reason,), where) for where, reason in found.as_text.items()]
        print("\n".join(f"    {places(at)}: {reason}" for (reason,), at in alike(reasons)[:MAX_FAULTS]))
    if found.faults or not found.problems:
        raise fault_list(path, found.faults)
    print("no faults")


def fault_list(path: Path, faults: list[DataError]) -> DataError:
    """One error that lists the faults of a file; rows with the same fault share an entry, which counts them."""
    if not faults:
        return DataError("the file holds no problem", where=str(path), fix="one row per problem")
    if len(faults) == 1:
        return faults[0]
    kinds = alike([((fault.what, str(fault.fix)), str(fault.where)) for fault in faults])
    lines = [f"    {places(at)}: {what}\n      fix: {fix}" for (what, fix), at in kinds[:MAX_FAULTS]]
    if len(kinds) > MAX_FAULTS:
        lines.append(f"    and {len(kinds) - MAX_FAULTS:,} other kinds of fault")
    return DataError(
        "\n".join([f"{len(faults):,} rows have faults", *lines]),
        where=str(path),
        fix="correct these rows or leave them out",
    )


def alike(found: Iterable[tuple[tuple[str, ...], str]]) -> list[tuple[tuple[str, ...], list[str]]]:
    """Pairs of words and a place → the words, each once, with all of their places, in the order in which they came."""
    kinds: dict[tuple[str, ...], list[str]] = {}
    for words, place in found:
        kinds.setdefault(words, []).append(place)
    return list(kinds.items())


def places(where: Sequence[str]) -> str:
    """``own.jsonl:4``, or of many ``20 rows (own.jsonl:4, own.jsonl:7, own.jsonl:8, …)``."""
    if len(where) == 1:
        return where[0]
    rest = ", …" if len(where) > SHOWN_PLACES else ""
    return f"{len(where):,} rows ({', '.join(where[:SHOWN_PLACES])}{rest})"
