"""The playground for everybody: by keys alone, read aloud, in light and dark, on a phone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch
from playwright.sync_api import Browser, Page, expect

from tests.accessible import require_contrast, require_names, require_outline, require_references, require_tab_order
from tests.browser import DESKTOP, PHONE, Watched, chromium, opened, shoot
from tests.playing import MODES, Place, documents, played, settled


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, node_url: str, client: Elasticsearch) -> Iterator[Place]:
    with played(tmp_path_factory.mktemp("server"), node_url, client) as running:
        yield running


@pytest.fixture
def desk(browser: Browser, place: Place) -> Iterator[Watched]:
    """The page with three rankings by rrf, and everything open that opens."""
    with opened(browser, place.url(query="cancel subscription", method="rrf")) as watched:
        settled(watched.page)
        watched.page.click("#request summary")
        watched.page.click("#why-hybrid-1")
        yield watched
        watched.require_no_errors()


def test_a_search_by_keys_alone(browser: Browser, place: Place) -> None:
    with opened(browser, place.url()) as watched:
        page = watched.page
        expect(page.locator("#about")).not_to_be_empty()
        expect(page.locator("#query")).to_be_focused()
        page.keyboard.type("cancel subscription")
        settled(page)
        page.keyboard.press("ArrowDown")
        expect(page.locator("#why-hybrid-1")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("#reasons-hybrid-1")).to_be_visible()
        expect(page.locator("#why-hybrid-1")).to_be_focused()
        page.keyboard.press("ArrowDown")
        expect(page.locator("#why-hybrid-2")).to_be_focused()
        second = documents(page, "hybrid")[1]
        page.keyboard.press("ArrowRight")
        expect(page.locator(f"#why-knn-{documents(page, 'knn').index(second) + 1}")).to_be_focused()
        page.keyboard.press("End")
        expect(page.locator("#why-knn-10")).to_be_focused()
        page.keyboard.press("Home")
        page.keyboard.press("ArrowUp")
        expect(page.locator("#query")).to_be_focused()
        watched.require_no_errors()


def test_tab_reaches_every_control_in_order(desk: Watched) -> None:
    require_tab_order(desk.page)


def test_the_skip_link_leads_to_the_results(desk: Watched) -> None:
    page = desk.page
    address = page.url
    page.focus("#skip")
    expect(page.locator("#skip")).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("#results")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator("#why-bm25-1")).to_be_focused()
    assert page.url == address


def test_what_a_screen_reader_needs_is_there(desk: Watched) -> None:
    page = desk.page
    assert page.get_attribute("html", "lang") == "en"
    assert page.title() == "es-semantic playground"
    for landmark in ("banner", "main", "search"):
        expect(page.get_by_role(landmark)).to_have_count(1)
    for name in ("BM25", "Hybrid", "kNN"):
        expect(page.get_by_role("region", name=name, exact=True)).to_have_count(1)
        expect(page.get_by_role("list", name=name, exact=True)).to_have_count(1)
    expect(page.get_by_role("button", name="Why is Cancel a subscription on rank 1 of Hybrid")).to_have_count(1)
    expect(page.get_by_role("slider", name="Weight of BM25")).to_have_count(1)
    expect(page.get_by_role("status").filter(has_text="Hits: BM25")).to_have_count(1)
    require_names(page)
    require_outline(page)
    require_references(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_texts_stand_out_in_light_and_dark(
    browser: Browser, place: Place, scheme: Any, size: tuple[int, int], tmp_path: Path
) -> None:
    url = place.url(query="cancel subscription", method="rrf", size="4", filter="wrong")
    with opened(browser, url, size, color_scheme=scheme) as watched:
        page = watched.page
        if size == PHONE:
            page.click("#settings summary")
        expect(page.locator("#filter-wrong")).not_to_be_empty()
        require_contrast(page)
        page.fill("#filter", "lang=en")
        settled(page)
        page.click("#why-hybrid-1")
        page.click("#request summary")
        require_contrast(page)
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (max(int(each) for each in re.findall(r"\d+", background)) < 60) == (scheme == "dark")
        page.click("#request summary")
        shoot(page, f"playground-{scheme}-{'phone' if size == PHONE else 'desktop'}", tmp_path)
        watched.require_no_errors()


def test_a_phone_shows_one_ranking_at_a_time(browser: Browser, place: Place) -> None:
    long = "subscription " + "x" * 300
    with opened(browser, place.url(query="cancel subscription"), PHONE, has_touch=True, is_mobile=True) as watched:
        page = watched.page
        settled(page)
        for summary in page.locator("summary").all():
            summary.tap()
        for mode in MODES:
            page.locator(".pick.shown label").filter(has=page.locator(f"[value={mode}]")).tap()
            expect(page.locator(f"#column-{mode}")).to_be_visible()
            expect(page.locator(".column:visible")).to_have_count(1)
            page.locator(f"#why-{mode}-1").tap()
            require_no_sideways_scroll(page)
        expect(page.locator("#hits-knn .hit").first.locator(".chip.hybrid")).to_have_text(re.compile(r"Hybrid \d+"))
        page.fill("#filter", '{"match": {"body": "' + long + '"}}')
        page.fill("#query", long)
        settled(page)
        require_no_sideways_scroll(page)
        page.fill("#filter", '{"' + "x" * 300 + '": {}}')
        expect(page.locator("#notices-knn")).to_contain_text("unknown query")
        require_no_sideways_scroll(page)
        require_targets(page)
        watched.require_no_errors()


def require_no_sideways_scroll(page: Page) -> None:
    """Make sure that nothing is wider than the screen."""
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]


def require_targets(page: Page) -> None:
    """Make sure that what is tapped is 24 pixels high at least (WCAG 2.2, 2.5.8, level AA)."""
    targets = page.locator("button, summary, select, .pick.shown span, input[type=range]").locator("visible=true").all()
    assert len(targets) > 10
    assert [box for box in (target.bounding_box() for target in targets) if box and box["height"] < 24] == []
