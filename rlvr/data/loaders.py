"""Problems from files, and back, in verl's column convention.

Columns: ``data_source``, ``prompt`` (chat messages), ``ability``,
``reward_model = {style, ground_truth}``, ``extra_info = {split, index, …}``, and where problems have some,
``images`` (images.py). Rows of the public code sets are read from their own columns (code_sets.py).
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rlvr.config import FORMATS, ColumnsConfig
from rlvr.data.code_sets import is_code_row, parse_code_row
from rlvr.data.hub import HubSource, hub_rows
from rlvr.data.images import images_of, undecoded
from rlvr.data.mapped import COLUMNS_WORDS, how_to_map, is_solution, parse_mapped
from rlvr.data.numbers import is_text, plain
from rlvr.errors import DataError
from rlvr.records import Problem

logger = logging.getLogger(__name__)
HALF = "write the row again: a surrogate such as \\ud800 without its other half is no character"
COLUMNS = ("data_source", "prompt", "ability", "reward_model", "extra_info")


def load_problems(
    path: str, columns: ColumnsConfig | None = None, *, split: str = "test", words: str = COLUMNS_WORDS
) -> list[Problem]:
    """Read a JSONL or parquet file, a folder written by ``datasets``, or a set on the hub.

    Args:
        path: of the file or folder, or the set's name.
        columns: what the columns hold; None: they are verl's.
        split: of a set on the hub, unless ``columns`` names one.
        words: that map columns in the command at hand, for messages.

    Raises:
        DataError: missing, empty or malformed; a bad row is named by file and line (JSONL)
            or row (parquet, folders and the hub), counted from 1.
    """
    mapping = columns or ColumnsConfig()
    split = mapping.split or split
    if is_hub_name(path):
        source = HubSource(path, mapping.subset, split)
        found = hub_rows(source, "a local copy by its path")
    else:
        found = read_rows(Path(path))
    base, name = folder_of(Path(path)), Path(path).stem
    try:
        rows = [
            parse_mapped(row, index, where, mapping, name, split)
            if mapping.question is not None
            else parse_row(row, where, base, words)
            for index, (row, where) in enumerate(found)
        ]
    except DataError as error:
        raise with_validation(error, path, mapping) from error
    if not rows:
        raise DataError("the data set is empty", where=path, fix="it must hold at least one problem")
    problems = without_repeats(rows)
    if len(problems) < len(rows):
        logger.warning(
            "%s: %d of %d rows repeat another and are left out", path, len(rows) - len(problems), len(rows)
        )
    refuse_doubles(problems, path)
    return problems


def with_validation(error: DataError, path: str, columns: ColumnsConfig) -> DataError:
    """The error for the first bad row of a file, with the command that names all of them."""
    if not path or not Path(path).exists():
        return error
    words = (
        ""
        if columns.question is None
        else f" columns.question={columns.question} columns.answer={columns.answer}"
    )
    words += f" columns.answer_in={columns.answer_in}" if words and columns.answer_in != "whole" else ""
    fix = f"{error.fix}; `rlvr data validate {path}{words}` names every such row"
    return DataError(error.what, where=error.where, fix=fix)


def is_hub_name(path: str) -> bool:
    """Whether a path is none, but has the form ``owner/name``."""
    return (
        path.count("/") == 1 and path[:1] not in "./~" and not Path(path).suffix and not Path(path).exists()
    )


def without_repeats(problems: Sequence[Problem]) -> list[Problem]:
    """Each problem once: DAPO-17k, for one, is published with every row a hundred times."""
    first: dict[str, Problem] = {}
    return [
        problem
        for problem in problems
        if first.setdefault(problem.id, problem) is problem or first[problem.id] != problem
    ]


def refuse_doubles(problems: Sequence[Problem], where: str) -> None:
    """Raise a DataError for the first id that occurs twice."""
    seen: dict[str, int] = {}
    for number, problem in enumerate(problems, start=1):
        if problem.id in seen:
            raise DataError(
                f"problem id {problem.id!r} occurs twice, in rows {seen[problem.id]} and {number}",
                where=where,
                fix="ids are data_source/split/index: give every row its own extra_info.index",
            )
        seen[problem.id] = number


def read_rows(source: Path) -> Iterator[tuple[Any, str]]:
    """Yield every row with the words that say where it stands.

    Raises:
        DataError: no such file, of an unknown format, or not what its name says.
    """
    if not source.exists():
        raise DataError("the data file does not exist", where=str(source), fix="check the path")
    if source.suffix == ".jsonl":
        yield from _json_lines(source)
        return
    if not source.is_dir() and source.suffix not in FORMATS:
        raise DataError(
            f"unknown file format {source.suffix!r}", where=str(source), fix=f"one of {', '.join(FORMATS)}"
        )
    import datasets

    try:
        table = (
            datasets.load_from_disk(str(source))
            if source.is_dir()
            else datasets.Dataset.from_parquet(str(source))
        )
    except Exception as error:  # pyarrow and datasets raise many types for a file that is not theirs
        raise unreadable(source, error) from error
    if not isinstance(table, datasets.Dataset):
        raise DataError(
            f"the folder holds several splits: {', '.join(table)}", where=str(source), fix="name one of them"
        )
    for number, row in enumerate(undecoded(table), start=1):
        yield row, f"{source}, row {number}"


def folder_of(source: Path) -> Path:
    """The folder that paths to images start from: the data file's own, or the one beside it that has its name."""
    if source.is_dir():
        return source
    beside = source.with_suffix("")
    return beside if beside.is_dir() else source.parent


def json_row(line: str, where: str) -> Any:
    """One line of a JSONL file.

    Raises:
        DataError: it is not JSON.
    """
    try:
        return json.loads(line)
    except RecursionError as error:
        raise DataError(
            "the line is nested too deeply", where=where, fix="is this a data set? a row is a flat object"
        ) from error
    except json.JSONDecodeError as error:
        raise DataError(
            f"the line is not valid JSON ({error.msg} at column {error.colno})",
            where=where,
            fix="the line is often cut off: write the file again, or delete the line",
        ) from error


def _json_lines(source: Path) -> Iterator[tuple[Any, str]]:
    for line, where in lines_of(source):
        if (row := row_in(line, where)) is not None:
            yield row[0], where


def lines_of(source: Path) -> Iterator[tuple[bytes, str]]:
    """Yield every line of a JSONL file with the words that say where it stands."""
    with source.open("rb") as file:
        for number, line in enumerate(file, start=1):
            yield line, f"{source}:{number}"


def row_in(line: bytes, where: str) -> tuple[Any] | None:
    """The row of one line; None for a blank one.

    Raises:
        DataError: it is in another encoding, or not JSON.
    """
    text = utf8(line, where)
    return (json_row(text, where),) if text.strip() else None


def utf8(line: bytes, where: str) -> str:
    """One line as text, without the mark that some editors put in front of a file.

    Raises:
        DataError: it is in another encoding.
    """
    try:
        return line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        sixteen = line.startswith((b"\xff\xfe", b"\xfe\xff"))
        raise DataError(
            "the file is UTF-16"
            if sixteen
            else f"the line is not UTF-8 (byte {line[error.start]:#04x} at {error.start})",
            where=where,
            fix="convert the file: "
            + ("iconv -f utf-16 -t utf-8" if sixteen else "iconv -f latin1 -t utf-8, if it is latin-1"),
        ) from error


def unreadable(source: Path, error: Exception) -> DataError:
    """The error for a file that is not what its name says."""
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return DataError(f"the data cannot be read: {reason}", where=str(source), fix="write the file again")


def parse_row(row: Any, where: str, base: Path, mapping: str = COLUMNS_WORDS) -> Problem:
    """Check one row and make it a problem.

    Args:
        row: its columns.
        where: its place.
        base: folder that paths to images start from.
        mapping: words that map columns in the command at hand, for messages.

    Raises:
        DataError: a column is missing or of the wrong type, or an image cannot be read.
    """
    _check(isinstance(row, dict), "the row is not an object", where, f"an object with {', '.join(COLUMNS)}")
    if is_code_row(row):
        return parse_code_row(row, where)
    hint = "" if "reward_model" in row else f"; {how_to_map(row, mapping)}"
    for column in COLUMNS:
        found = f"found: {', '.join(map(str, row))}{hint}"
        _check(column in row, f"column {column!r} is missing", where, found)
    prompt, truth, extra = _prompt(row["prompt"], where), _ground_truth(row, where), row["extra_info"]
    has_index = isinstance(extra, dict) and "index" in extra
    _check(has_index, "extra_info has no index", where, '{"split": "train", "index": 0}')
    style = str(row["reward_model"].get("style", "rule"))  # DAPO-17k: rule-lighteval/MATH_v2
    return Problem(
        id=f"{row['data_source']}/{extra.get('split', 'all')}/{extra['index']}",
        prompt=prompt,
        data_source=str(row["data_source"]),
        ground_truth=truth,
        style="rule" if style.startswith("rule-") else style,
        ability=str(row["ability"]).lower(),
        extra_info=extra,
        images=images_of({"images": row.get("images")}, base, where),
    )


def _check(condition: bool, what: str, where: str, fix: str) -> None:
    if not condition:
        raise DataError(what, where=where, fix=fix)


def _prompt(prompt: Any, where: str) -> tuple[dict[str, str], ...]:
    """Messages that a model can be asked in."""
    are_messages = isinstance(prompt, list) and all(
        isinstance(m, dict) and isinstance(m.get("content"), str) and isinstance(m.get("role"), str)
        for m in prompt
    )
    example = 'for example [{"role": "user", "content": "…"}]'
    _check(are_messages and len(prompt) > 0, "prompt is not a list of chat messages", where, example)
    words = "".join(message["content"] for message in prompt)
    _check(words.strip() != "", "the prompt is empty", where, "a question; or leave the row out")
    _check(is_text(words), "the prompt holds half a character", where, HALF)
    return tuple({"role": m["role"], "content": m["content"]} for m in prompt)


def _ground_truth(row: dict[str, Any], where: str) -> str:
    """An answer that a response can match."""
    reward_model = row["reward_model"]
    _check(
        isinstance(reward_model, dict) and "ground_truth" in reward_model,
        "reward_model has no ground_truth",
        where,
        'for example {"style": "rule", "ground_truth": "42"}',
    )
    given = reward_model["ground_truth"]
    truth = plain(given)
    if truth is None:
        raise DataError(
            f"ground_truth holds {type(given).__name__} {str(given)[:40]!r}",
            where=where,
            fix='one answer, as text or as a finite number; several in one text: "1, 2"',
        )
    _check(is_text(truth), "ground_truth holds half a character", where, HALF)
    _check(
        str(row["ability"]).lower() != "math" or not is_solution(truth),
        f"ground_truth holds a worked solution: {truth[:40]!r}…",
        where,
        "the final answer alone: what stands in its last \\boxed{…}, or after its ####",
    )
    return truth


def to_row(problem: Problem) -> dict[str, Any]:
    """Inverse of :func:`parse_row`."""
    return {
        "data_source": problem.data_source,
        "prompt": [dict(message) for message in problem.prompt],
        "ability": problem.ability,
        "reward_model": {"style": problem.style, "ground_truth": problem.ground_truth},
        "extra_info": dict(problem.extra_info),
        **({"images": [{"path": image.path} for image in problem.images]} if problem.images else {}),
    }


def save_problems(problems: Sequence[Problem], path: Path) -> None:
    """Write ``.jsonl`` or ``.parquet`` through ``datasets``."""
    import datasets

    table = datasets.Dataset.from_list([to_row(problem) for problem in problems])
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        table.to_parquet(str(path))
    else:
        table.to_json(str(path), force_ascii=False)


def problems_hash(problems: Iterable[Problem]) -> str:
    """SHA-256 over prompts, images and ground truths: the identity of a benchmark."""
    digest = hashlib.sha256()
    for problem in problems:
        row = [problem.id, [dict(message) for message in problem.prompt], problem.ground_truth]
        row += [image.sha256 for image in problem.images]
        digest.update(json.dumps(row, sort_keys=True).encode())
    return digest.hexdigest()
