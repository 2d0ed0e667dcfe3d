"""Pieces of HTML. Text is escaped here and nowhere else; only ``Markup`` passes as it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape


class Markup(str):
    """A string that is already HTML."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Cell:
    """A table cell whose order is not that of its text, which may be Markup."""

    text: str
    order: float


def render(value: object) -> str:
    """Any value as HTML: escaped unless it is Markup."""
    return str(value) if isinstance(value, Markup) else escape(str(value))


def element(tag: str, *children: object, css: str = "", **attributes: str) -> Markup:
    """``<tag class=css …>children</tag>``; children and attribute values are escaped."""
    names = {key: key.rstrip("_").replace("_", "-") for key in attributes}
    given = ({"class": css} if css else {}) | {names[key]: value for key, value in attributes.items()}
    written = "".join(f' {key}="{escape(value)}"' for key, value in given.items())
    return Markup(f"<{tag}{written}>{join(children)}</{tag}>")


def join(parts: Iterable[object]) -> Markup:
    """Pieces one after the other."""
    return Markup("".join(render(part) for part in parts))


def table(
    headers: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    groups: Sequence[tuple[str, int]] = (),
    sortable: bool = True,
) -> Markup:
    """A table with its first column as row heads; columns sort on a click of their head.

    Args:
        headers: one per column.
        rows: cells, the first of each row its head.
        groups: (title, number of columns) of a line above the headers.
        sortable: whether it sorts.
    """
    above = [element("th", name, scope="colgroup", colspan=str(n)) for name, n in groups]
    lines = [element("tr", *above, css="groups")] if above else []
    lines.append(element("tr", *(element("th", name, scope="col") for name in headers)))
    body = [element("tr", *(_cell(value, first=i == 0) for i, value in enumerate(row))) for row in rows]
    css = "sortable" if sortable and len(rows) > 1 else ""
    inner = element("table", element("thead", *lines), element("tbody", *body), css=css)
    return element("div", inner, css="table")


def _cell(value: object, *, first: bool) -> Markup:
    tag, order = ("th" if first else "td"), {}
    if isinstance(value, Cell):
        order, value = {"data-order": repr(value.order)}, value.text
    scope = {"scope": "row"} if first else {}
    return element(tag, value, **scope, **order)


def details(title: str, *children: object) -> Markup:
    """A fold that opens on a click (and in print)."""
    return element("details", element("summary", title), *children)


def section(anchor: str, title: str, *children: object) -> Markup:
    """A headed section with an anchor."""
    return element("section", element("h2", title), *children, id=anchor)


def id_list(ids: Sequence[str]) -> Markup:
    """Problem ids, as many as there are."""
    return element("p", *(element("code", problem_id, css="id") for problem_id in ids), css="ids")
