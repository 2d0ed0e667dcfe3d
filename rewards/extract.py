"""Where the answer stands in a response: a box, a tag, a marker, a fenced program.

All scans are linear in the response's length, whatever a model repeats in it.
"""

from __future__ import annotations

import re

BOX_TOKENS = re.compile(
    r"\\f?boxed\s*\{|\\fbox\s*\{|\\boxed\s*([-+]?[0-9][0-9.,/]*|[A-Z](?=\s*\$)"
    r"|-?\\(?:[dt]?frac|sqrt|pi|infty|text|emptyset|varnothing)(?![A-Za-z])[^$\n]{0,80}?(?=\s*(?:\$|\\[\])]|\Z)))"
    r"|\\.|[{}]",
    re.DOTALL,
)
"""Braces of a box may be left out around a number, or around a letter or a TeX command at the end of a formula."""
STATED = re.compile(r"\banswer is:?[ \t]*(?=\S)", re.IGNORECASE)
NUMBER = re.compile(r"-?(?:\d[\d,]*)?\.?\d+")
FENCE = re.compile(r"^([ \t]*)```[ \t]*([\w+-]*)[^\n]*$", re.MULTILINE)
QUOTES = re.compile(r'"""|\'\'\'')
END_OF_THOUGHTS = "</think>"
PYTHON_TAGS = ("", "python", "python3", "py")
PLACES = {
    "boxed": r"in the last \boxed{…}",
    "answer_tag": "in the last <answer>…</answer>",
    "hashes": "after the last ####",
    "answer_line": "after 'Answer:' on the last line",
}
"""Where an answer must stand, in words for people, by convention."""


def last_boxed(text: str) -> str | None:
    r"""Content of the last ``\boxed{…}`` whose braces balance, or None.

    The one that closes last, so of two nested boxes the outer. Escaped braces do not count.
    """
    opened: list[int | None] = []  # start of a box's content; None for a plain brace
    found: tuple[int, int] | None = None
    for token in BOX_TOKENS.finditer(text):
        word = token.group()
        if token.group(1):
            found = token.span(1)
        elif word == "}":
            start = opened.pop() if opened else None
            if start is not None:
                found = (start, token.start())
        elif word == "{":
            opened.append(None)
        elif word.endswith("{") and len(word) > 2:
            opened.append(token.end())
    return text[found[0] : found[1]] if found else None


def last_tagged(text: str) -> str | None:
    """Content of the last ``<answer>…</answer>``, or None."""
    end = text.rfind("</answer>")
    start = text.rfind("<answer>", 0, end) if end >= 0 else -1
    return text[start + len("<answer>") : end] if start >= 0 else None


def after_hashes(text: str) -> str | None:
    """The rest of the line after the last ``####``, or None."""
    _, marker, rest = text.rpartition("####")
    return rest.partition("\n")[0] if marker else None


def last_line(text: str) -> str | None:
    """What follows ``Answer:`` on the last line that is not empty, or None."""
    label, colon, rest = text.rstrip().rpartition("\n")[2].strip(" *").partition(":")
    return rest.strip(" *") if colon and label.strip(" *").lower() == "answer" else None


def stated_or_last_number(text: str) -> str | None:
    """Content of the last box, or else what the last ``answer is`` states, or else the last number of all.

    So reads Qwen2.5-Math's evaluation, for prompts that ask for no particular place.
    """
    boxed = last_boxed(text)
    if boxed is not None:
        return boxed
    ends = [match.end() for match in STATED.finditer(text)]
    if ends:
        return text[ends[-1] :].partition("\n")[0].partition(". ")[0].rstrip(". ")
    numbers = NUMBER.findall(text)
    return numbers[-1] if numbers else None


def tagged_answer(text: str) -> str | None:
    """Content of the last ``<answer>…</answer>``; of the box inside it, if there is one."""
    tagged = last_tagged(text)
    return None if tagged is None else (last_boxed(tagged) or tagged)


def final_answer(text: str, where: str) -> str | None:
    """The final answer by one convention of :data:`rlvr.rewards.config.EXTRACTIONS`; None if it is not there."""
    general = {"boxed": last_boxed, "answer_tag": last_tagged, "hashes": after_hashes}
    stated = {
        **general,
        "answer_tag": tagged_answer,
        "answer_line": last_line,
        "last_number": stated_or_last_number,
    }
    for finder in general.values() if where in ("auto", "any") else [stated[where]]:
        answer = finder(text)
        if answer is not None:
            return answer.strip() or None
    return None


def place_of_answer(where: str) -> str:
    """In words for people, where :func:`final_answer` looks by one convention."""
    return PLACES.get(where) or ", or else ".join(PLACES[each] for each in ("boxed", "answer_tag", "hashes"))


def program(text: str) -> str | None:
    """The last closed fenced block of Python after the thoughts; without any fence, the whole text.

    A block that names Python comes before one that names nothing, which may be an example of the output. A fence
    inside a text in quotes, or deeper than the one that opened the block, belongs to the program. A block that is
    opened again before it was closed was a draft. One that is never closed was cut off: None.
    """
    text = text[text.rfind(END_OF_THOUGHTS) + len(END_OF_THOUGHTS) :] if END_OF_THOUGHTS in text else text
    fences = list(FENCE.finditer(text))
    if not fences:
        return text if text.strip() else None
    found: dict[bool, str] = {}  # whether it names its language → the last such block
    position = 0
    while position < len(fences):
        end = _closing(text, fences, position)
        opening, closing = fences[position], fences[end] if end < len(fences) else None
        tag = opening.group(2).lower()
        if closing is None:
            return None if tag in PYTHON_TAGS else _chosen(found)
        if closing.group(2):  # opened again
            position = end
            continue
        if tag in PYTHON_TAGS:
            found[bool(tag)] = _without_indent(text[opening.end() + 1 : closing.start()], opening.group(1))
        position = end + 1
    return _chosen(found)


def _closing(text: str, fences: list[re.Match[str]], opened: int) -> int:
    """Number of the fence that ends a block, or opens the next; one past the last if there is none."""
    opening = fences[opened]
    at_all = len(fences)
    quote, read = "", opening.end()
    for number in range(opened + 1, len(fences)):
        fence = fences[number]
        for mark in QUOTES.findall(text, read, fence.start()):
            quote = mark if not quote else "" if mark == quote else quote
        read = fence.end()
        if len(fence.group(1).expandtabs()) > len(opening.group(1).expandtabs()):
            continue
        if not quote:
            return number
        at_all = min(at_all, number)
    return at_all


def _without_indent(block: str, indent: str) -> str:
    """Lines without as much of the fence's own indentation as they have, as in Markdown: a block below an item."""
    if not indent:
        return block
    width = len(indent.expandtabs())
    lines = []
    for line in block.splitlines(keepends=True):
        spaces = len(line) - len(line.lstrip(" "))
        lines.append(
            line[min(spaces, width) :] if spaces or not line.startswith(indent) else line[len(indent) :]
        )
    return "".join(lines)


def _chosen(found: dict[bool, str]) -> str | None:
    block = found.get(True, found.get(False, ""))
    return block if block.strip() else None
