"""The report in a real browser: hover, sort, single out, drill down from a point of a curve to what was written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rlvr.eval.loading import load_results
from rlvr.eval.report import write, write_report
from tests.browser import Page, chromium, open_page
from tests.eval.test_report import ATTACK
from tests.fabricate import COUNTS, evaluation

pytestmark = pytest.mark.skipif(chromium() is None, reason="no Chromium here (apt-get install chromium)")
ZONE = "#pass-at-k .chart.wide [data-k='4']"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    home = tmp_path_factory.mktemp("browser")
    for name in ("base", "grpo", "ppo"):
        evaluation(home / "study" / name, name, COUNTS[name], text=ATTACK)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "write_figure", lambda *_: None)
        write_report(home / "out", load_results([home / "study"]), num_resamples=100)
    with open_page(home / "profile") as opened:
        opened.size(1100, 800)
        opened.open(home / "out/report.html")
        yield opened


def texts(page: Page, selector: str) -> list[str]:
    """The text of every element that matches, without what is folded away."""
    found: list[str] = page.run(f"[...document.querySelectorAll({selector!r})].map((node) => node.innerText)")
    return found


def test_pointing_at_a_curve_tells_its_numbers(page: Page) -> None:
    page.point(ZONE)
    tip = page.run("document.getElementById('tip').innerText")
    assert tip.startswith("k = 4\nBase: 0.")
    assert "GRPO: 0." in tip
    page.point("h1")
    assert page.run("document.getElementById('tip').hidden")


def test_a_table_sorts_both_ways(page: Page) -> None:
    heads = "#accuracy table.sortable thead button"
    page.point(heads, click=True, index=1)
    cells = "#accuracy .table:first-of-type td:nth-child(2)"
    first = texts(page, cells)[:3]
    page.point(heads, click=True, index=1)
    second = texts(page, cells)[:3]
    assert first == sorted(first)
    assert second == sorted(second, reverse=True)


def test_a_problem_of_the_coverage_leads_to_what_was_written(page: Page) -> None:
    page.run("document.querySelectorAll('#coverage details').forEach((fold) => { fold.open = true; })")
    link = texts(page, "#coverage a[data-problem]")[0]
    page.point("#coverage a[data-problem]", click=True)
    assert page.run("document.activeElement.textContent") == link
    assert page.run("document.activeElement.getAttribute('aria-expanded')") == "true"
    assert texts(page, "#problems .detail .response")


def test_a_name_in_the_legend_singles_its_line_out(page: Page) -> None:
    page.point("#pass-at-k .legend [data-series='GRPO']", click=True)
    faded = "document.querySelectorAll('#pass-at-k .chart.wide .strokes.faded').length"
    assert page.run(faded) == 3  # base, PPO and guessing
    page.point("#pass-at-k .legend [data-series='GRPO']", click=True)
    page.point("h1")
    assert page.run(faded) == 0


def test_a_point_of_a_curve_leads_to_its_problems_and_to_what_was_written(page: Page) -> None:
    page.point(ZONE, click=True)
    assert page.run("document.querySelector('.problems [name=k]').value") == "4"
    rows = texts(page, ".problems tbody tr")
    assert len(rows) == 12
    differences = [float(row.split("\t")[-1].replace("−", "-")) for row in rows]
    assert differences == sorted(differences)  # the worst for the trained model on top
    [counted] = texts(page, ".problems .controls .small")
    tip = page.run("document.querySelector(\"[data-k='4']\").dataset.tip")
    drawn = tip.split("GRPO: ")[1].split()[0]
    assert f"GRPO {drawn}" in counted  # the mean of the column is the point of the curve
    page.point(".problems .open", click=True)
    detail = texts(page, ".problems .detail")[0]
    assert "Right answer:" in detail
    assert all(name in detail for name in ("Base", "GRPO"))
    assert "PPO" not in detail
    assert ATTACK in detail  # shown as text
    assert page.run("document.querySelectorAll('.problems img, .problems .detail script').length") == 0
    page.point(".problems .open", click=True)
    assert texts(page, ".problems .detail") == []


def test_problems_are_filtered_by_who_solves_them_and_by_model(page: Page) -> None:
    choose = (
        (
            "(name, value) => {{ const box = document.querySelector(`.problems [name=${{name}}]`);"
            " box.value = value; box.dispatchEvent(new Event('change')); }}"
        )
        .replace("{{", "{")
        .replace("}}", "}")
    )
    page.run(f"({choose})('show', 'base')")
    assert len(texts(page, ".problems tbody tr")) == 3
    page.run(f"({choose})('model', '2')")
    assert texts(page, ".problems thead th")[2] == "PPO"
    assert texts(page, ".problems tbody tr") == []
    page.run(f"({choose})('show', 'all')")
    assert len(texts(page, ".problems tbody tr")) == 12


@pytest.mark.parametrize("width", [1100, 390])
def test_nothing_is_wider_than_the_window(page: Page, width: int) -> None:
    page.size(width, 800)
    try:
        assert page.run("document.documentElement.scrollWidth") <= width
    finally:
        page.size(1100, 800)


def test_print_leaves_out_what_needs_a_mouse(page: Page, tmp_path: Path) -> None:
    page.media("print")
    hidden = [f"getComputedStyle(document.querySelector('{css}')).display" for css in ("nav", "#problems")]
    assert [page.run(script) for script in hidden] == ["none", "none"]
    page.media("screen")
    page.pdf(tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")


def test_no_script_failed_and_nothing_was_loaded(page: Page) -> None:
    assert page.errors == []
