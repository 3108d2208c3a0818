"""The playground in a real browser: three rankings, their lines, controls, reasons and requests.

Pictures are kept in the folder that ``ES_SEMANTIC_ARTIFACTS`` names.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser import Watched, chromium, opened, shoot
from tests.playing import MODES, Place, ask, documents, lines, played, settled


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
    """The page with nothing asked yet, on a screen that all columns fit on."""
    with opened(browser, place.url()) as watched:
        expect(watched.page.locator("#about")).to_contain_text("title, body by tiny, 64 dimensions")
        yield watched
        watched.require_no_errors()


def test_typing_shows_three_rankings_of_the_same_words(desk: Watched, place: Place, tmp_path: Path) -> None:
    ask(desk.page, "cancel subscription")
    asked = [json.loads(body) for body in desk.posted[-3:]]
    assert sorted(body["mode"] for body in asked) == sorted(MODES)
    with place.server.client() as http:
        for body in asked:
            answer = http.post("/search", json=body).json()
            assert body["query"] == "cancel subscription"
            assert body["size"] == 10
            assert documents(desk.page, body["mode"]) == [hit["id"] for hit in answer["hits"]]
    assert documents(desk.page, "hybrid")[0] == "cancel"
    expect(desk.page.locator("#status")).to_have_text("Hits: BM25 5, Hybrid 10, kNN 10.")
    expect(desk.page.locator("#hits-bm25 .hit").first.locator("mark")).to_have_text(
        ["Cancel", "subscription", "cancel", "subscription"]
    )
    shoot(desk.page, "playground-light", tmp_path)


def test_lines_join_the_same_documents(desk: Watched) -> None:
    page = desk.page
    page.fill("#size", "3")
    ask(page, "cancel subscription month")
    found = {mode: documents(page, mode) for mode in MODES}
    expected = {(id, "bm25 hybrid") for id in set(found["bm25"]) & set(found["hybrid"])}
    expected |= {(id, "hybrid knn") for id in set(found["hybrid"]) & set(found["knn"])}
    expected |= {(id, "bm25 knn") for id in set(found["bm25"]) & set(found["knn"]) - set(found["hybrid"])}
    assert lines(page) == expected != set()
    require_lines_at_their_hits(page)
    page.set_viewport_size({"width": 1000, "height": 700})
    page.click("#why-hybrid-1")
    page.mouse.wheel(0, 400)
    require_lines_at_their_hits(page)
    page.hover("#hits-hybrid .hit:first-child h3")
    active = page.locator("#results .active").evaluate_all(
        "all => all.map(each => JSON.parse(each.dataset.document)[1])"
    )
    assert set(active) == {found["hybrid"][0]}
    assert len(active) >= 3


def require_lines_at_their_hits(page: Page) -> None:
    """Make sure that each line begins and ends beside the titles of the hits that it joins."""
    page.wait_for_function("() => new Promise(requestAnimationFrame)")
    off = page.evaluate("""() => [...document.querySelectorAll("#threads path")].flatMap((path) => {
      const ends = [path.getPointAtLength(0), path.getPointAtLength(path.getTotalLength())];
      const all = document.querySelector("#threads").getBoundingClientRect();
      return path.dataset.joins.split(" ").map((mode, number) => {
        const items = [...document.querySelector(`#hits-${mode}`).children];
        const hit = items.find((item) => item.dataset.document === path.dataset.document);
        const box = hit.querySelector(".title").getBoundingClientRect();
        const edge = hit.getBoundingClientRect()[number ? "left" : "right"];
        const y = ends[number].y + all.top, x = ends[number].x + all.left;
        return y >= box.top && y <= box.bottom && Math.abs(x - edge) < 6 ? null : [mode, x, y, edge, box.top];
      }).filter((each) => each);
    })""")
    assert off == []


def test_sliders_change_the_hybrid_ranking_alone(desk: Watched) -> None:
    page = desk.page
    expect(page.locator("#bm25")).to_be_disabled()
    page.select_option("#method", "rrf")
    ask(page, "zebra quagga")
    assert (documents(page, "bm25")[0], documents(page, "knn")[0]) == ("by-words", "by-meaning")
    before = len(desk.posted)
    for slider, key, best in [("knn", "Home", "by-words"), ("bm25", "Home", None), ("knn", "End", "by-meaning")]:
        page.focus(f"#{slider}")
        page.keyboard.press(key)
        settled(page)
        if best:
            assert documents(page, "hybrid")[0] == best
        else:
            # The server refuses a ranking without weights.
            expect(page.locator("#notices-hybrid")).not_to_be_empty()
    page.focus("#rank_constant")
    page.keyboard.press("Home")
    settled(page)
    sent = [json.loads(body) for body in desk.posted[before:]]
    assert {body["mode"] for body in sent} == {"hybrid"}
    assert sent[-1]["ranking"] == {"method": "rrf", "weights": {"bm25": 0, "knn": 3}, "rank_constant": 1}
    expect(page.locator("#rank_constant-value")).to_have_text("1")


@pytest.mark.parametrize(
    ("filter", "clause"),
    [
        ("lang=de", {"match": {"lang": {"query": "de", "operator": "and"}}}),
        ('{"terms": {"lang": ["de", "fr"]}}', {"terms": {"lang": ["de", "fr"]}}),
    ],
)
def test_a_filter_is_sent_with_every_search(desk: Watched, filter: str, clause: dict[str, Any]) -> None:
    desk.page.fill("#filter", filter)
    ask(desk.page, "subscription")
    assert [json.loads(body)["filters"] for body in desk.posted[-3:]] == [[clause]] * 3
    assert [documents(desk.page, mode) for mode in MODES] == [["abo"]] * 3


@pytest.mark.parametrize(
    ("filter", "told"),
    [
        ('{"term": {"lang": }}', "not valid JSON"),
        ("only-a-word", "neither field=value nor JSON"),
        ('{"term": {"lang": "de"}, "exists": {"field": "lang"}}', "one clause"),
    ],
)
def test_a_filter_that_cannot_be_read_is_told_and_not_sent(desk: Watched, filter: str, told: str) -> None:
    page = desk.page
    ask(page, "subscription")
    before = len(desk.posted)
    page.fill("#filter", filter)
    expect(page.locator("#filter-wrong")).to_contain_text(told)
    expect(page.locator("#filter")).to_have_attribute("aria-invalid", "true")
    assert len(desk.posted) == before
    page.fill("#filter", "")
    expect(page.locator("#filter-wrong")).to_be_empty()
    settled(page)
    assert len(desk.posted) == before + 3


def test_what_the_server_refuses_is_told_with_its_hint(desk: Watched, tmp_path: Path) -> None:
    page = desk.page
    page.fill("#filter", '{"no_such_query": {}}')
    page.locator("#query").press_sequentially("subscription")
    for mode in MODES:
        expect(page.locator(f"#notices-{mode}")).to_contain_text("unknown query [no_such_query]")
        expect(page.locator(f"#notices-{mode}")).to_contain_text("Check the filters")
    expect(page.locator("#status")).to_have_text("Hits: BM25 failed, Hybrid failed, kNN failed.")
    shoot(page, "playground-refused", tmp_path)
    page.fill("#filter", "")
    # A zero-width space: not empty for the page, but for the server. What all three say is said once.
    page.fill("#query", "\u200b")
    expect(page.locator("#trouble")).to_contain_text("the query is empty Give at least one letter")
    expect(page.locator(".notice")).to_have_count(0)


def test_what_is_missing_is_named(desk: Watched, place: Place) -> None:
    place.source.away = True
    try:
        ask(desk.page, "a subscription nobody asked for before")
        expect(desk.page.locator("#notices-hybrid")).to_contain_text("Degraded: kNN is missing.")
        expect(desk.page.locator("#status")).to_contain_text("Degraded: Hybrid")
        assert documents(desk.page, "bm25")
    finally:
        place.source.away = False
    desk.page.press("#query", "Enter")
    expect(desk.page.locator("#notices-hybrid")).to_be_empty()


def numbers(page: Page, hit: str) -> list[list[str]]:
    """The rows of a hit's reasons."""
    rows: list[list[str]] = page.locator(f"#reasons-{hit} tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.children].map(cell => cell.innerText))"
    )
    return rows


def test_why_a_rank_by_rrf(desk: Watched, tmp_path: Path) -> None:
    page = desk.page
    page.select_option("#method", "rrf")
    page.focus("#bm25")
    page.keyboard.press("End")
    ask(page, "cancel subscription")
    why = page.locator("#why-hybrid-1")
    expect(why).to_have_attribute("aria-expanded", "false")
    why.click()
    expect(why).to_have_attribute("aria-expanded", "true")
    (words, vectors, both) = numbers(page, "hybrid-1")
    assert words[:2] == ["BM25", "1"]
    assert words[3].split("\n") == [f"{3 / 61:.5f}", "3 / (60 + 1)"]
    rank = int(vectors[1])
    assert vectors[3].split("\n") == [f"{1 / (60 + rank):.5f}", f"1 / (60 + {rank})"]
    assert float(both[3]) == pytest.approx(3 / 61 + 1 / (60 + rank), abs=1e-5)
    page.click("#why-bm25-1")
    assert [row[:2] for row in numbers(page, "bm25-1")] == [["BM25", "1"], ["Hybrid", "1"], ["kNN", str(rank)]]
    shoot(page, "playground-why", tmp_path)
    why.click()
    expect(page.locator("#reasons-hybrid-1")).to_be_hidden()


def test_why_a_rank_by_linear_tells_what_the_answers_hold_and_no_more(desk: Watched) -> None:
    page = desk.page
    page.select_option("#method", "linear")
    ask(page, "cancel subscription")
    # All four hits of BM25 are there, so its lowest score is known; what is left is of kNN, whose lowest is not.
    page.click("#why-hybrid-1")
    (words, vectors, both) = numbers(page, "hybrid-1")
    assert re.match(r"1\.000\n1 . \(", words[3])
    assert vectors[3].endswith("what is left of the sum")
    assert float(both[3]) == pytest.approx(1 + float(vectors[3].split("\n")[0]), abs=1e-3)
    page.fill("#size", "2")
    settled(page)
    assert [row[3] for row in numbers(page, "hybrid-1")[:2]] == ["not known here"] * 2
    expect(page.locator("#reasons-hybrid-1")).to_contain_text("is not in the answer")
    page.select_option("#method", "auto")
    settled(page)
    expect(page.locator("#reasons-hybrid-1")).to_contain_text("auto: each leg adds")


def test_where_the_time_went_adds_up(desk: Watched) -> None:
    ask(desk.page, "how the time went by")
    for mode in MODES:
        told = desk.page.locator(f"#stages-{mode} dl > div").evaluate_all(
            "all => all.map(each => [...each.children].map(part => part.textContent))"
        )
        stages = {name: float(value.split()[0]) for name, value in told}
        assert list(stages) == ["model", "Elasticsearch", "rest", "total", "requests"]
        assert stages["total"] == pytest.approx(stages["model"] + stages["Elasticsearch"] + stages["rest"], abs=2)
        assert stages["requests"] >= 1
        assert (stages["Elasticsearch"] > 0, stages["model"] > 0) == (True, mode != "bm25")


def test_the_curl_shown_is_the_request_that_was_sent(desk: Watched) -> None:
    page = desk.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.select_option("#method", "linear")
    ask(page, 'what\'s a subscription; $HOME `id` "month"')
    page.click("#request summary")
    for mode in MODES:
        page.check(f"[name=told][value={mode}]", force=True)
        (sent,) = [body for body in desk.posted[-3:] if json.loads(body)["mode"] == mode]
        assert json.loads(page.inner_text("#json")) == json.loads(sent)
        page.click("[data-copy=curl]")
        expect(page.locator("#status")).to_have_text("curl is copied.")
        curl: str = page.evaluate("navigator.clipboard.readText()")
        assert curl == page.locator("#curl").text_content()
        assert "Authorization" not in curl
        data = subprocess.run(
            ["bash", "-c", f"curl() {{ printf '%s' \"${{@: -1}}\"; }}; {curl}"], capture_output=True, check=True
        )
        assert data.stdout.decode() == sent
        answer = subprocess.run(["bash", "-c", curl], capture_output=True, check=True, env={"PATH": "/usr/bin:/bin"})
        assert [hit["id"] for hit in json.loads(answer.stdout)["hits"]] == documents(page, mode)


def test_stale_answers_are_discarded(desk: Watched) -> None:
    """The first query's requests are held back until the second is answered; the page waits for them no longer."""
    page = desk.page
    held: list[Route] = []
    given_up: list[Any] = []

    def hold(route: Route) -> None:
        if json.loads(route.request.post_data or "{}")["query"] == "invoices":
            held.append(route)
        else:
            route.continue_()

    page.route("**/search", hold)
    page.on("requestfailed", lambda request: given_up.append(request.post_data_json))
    page.fill("#query", "invoices")
    for _ in range(500):
        if len(held) == 3:
            break
        page.wait_for_timeout(20)
    page.fill("#query", "zebra quagga")
    settled(page)
    assert [body["query"] for body in given_up] == ["invoices"] * 3
    for route in held:
        route.continue_()
    assert set(documents(page, "bm25")) == {"by-words", "by-meaning"}
    expect(page.locator("#status")).to_contain_text("BM25 2,")


def test_a_link_brings_query_and_settings(browser: Browser, desk: Watched) -> None:
    page = desk.page
    page.select_option("#method", "rrf")
    page.focus("#knn")
    page.keyboard.press("End")
    page.fill("#size", "4")
    page.fill("#filter", "lang=en")
    ask(page, "cancel & subscription = ü#")
    with opened(browser, page.url) as other:
        settled(other.page)
        assert sorted(other.posted) == sorted(desk.posted[-3:])
        assert documents(other.page, "hybrid") == documents(page, "hybrid")
        other.page.evaluate("location.hash = '#query=invoices'")
        expect(other.page.locator("#query")).to_have_value("invoices")
        settled(other.page)
        assert json.loads(other.posted[-1])["size"] == 10
        other.require_no_errors()
