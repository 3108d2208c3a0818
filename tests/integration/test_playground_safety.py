"""The playground's safety: keys, documents and links that mean harm, and what its policy stops."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from elasticsearch import Elasticsearch
from playwright.sync_api import Browser, expect

from es_semantic.server.playground import PAGE, policy
from tests.browser import chromium, opened, shoot
from tests.playing import ARTICLES, HOSTILE, Place, ask, documents, played, settled
from tests.serving import serving


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, node_url: str, client: Elasticsearch) -> Iterator[Place]:
    with played(tmp_path_factory.mktemp("server"), node_url, client) as running:
        yield running


def test_a_key_is_asked_for_used_and_never_shown(browser: Browser, place: Place, node_url: str, tmp_path: Path) -> None:
    with serving(tmp_path, node_url) as server:
        token = server.key("search", indices=(place.index,))
        with opened(browser, f"{server.url}/#{urlencode({'query': 'cancel', 'method': 'rrf'})}") as watched:
            page = watched.page
            expect(page.locator("#key")).to_be_focused()
            shoot(page, "playground-key", tmp_path)
            page.keyboard.type("not-a-key")
            page.keyboard.press("Enter")
            expect(page.locator("#key-help")).to_contain_text("the API key is not valid")
            page.fill("#key", token)
            page.keyboard.press("Enter")
            expect(page.locator("#key-form")).to_be_hidden()
            settled(page)
            assert documents(page, "bm25")
            assert page.locator("#index option").all_inner_texts() == [place.index]
            page.click("#request summary")
            expect(page.locator("#curl")).to_contain_text('"Authorization: Bearer $ES_SEMANTIC_KEY"')
            assert "query=cancel" in page.url
            held = page.evaluate(
                "[document.documentElement.outerHTML, location.href, document.cookie,"
                " JSON.stringify(localStorage), JSON.stringify(sessionStorage)].join()"
            )
            assert token not in held
            assert page.input_value("#key") == ""
            curl = page.inner_text("#curl")
            environment = {"PATH": "/usr/bin:/bin", "ES_SEMANTIC_KEY": token}
            answer = subprocess.run(["bash", "-c", curl], capture_output=True, check=True, env=environment)
            assert [hit["id"] for hit in json.loads(answer.stdout)["hits"]] == documents(page, "hybrid")
            server.keys.revoke(server.keys.all()[0].id)
            page.fill("#query", "cancel it")
            expect(page.locator("#key")).to_be_focused()
            watched.require_no_errors()


def test_documents_are_text_whatever_they_hold(browser: Browser, place: Place) -> None:
    with opened(browser, place.url()) as watched:
        page = watched.page
        expect(page.locator("#about")).not_to_be_empty()
        ask(page, "aardvark burrow")
        page.click("#why-bm25-1")
        page.hover("#hits-bm25 .hit:first-child mark >> nth=0")
        assert documents(page, "bm25") == [HOSTILE]
        assert documents(page, "hybrid")[0] == HOSTILE
        assert (
            page.locator("#results").locator("img, script, em, svg:not(#threads), [onerror], [onmouseover]").count()
            == 0
        )
        assert page.evaluate("typeof pwned") == "undefined"
        expect(page.locator("#hits-bm25 h3")).to_have_text(ARTICLES[HOSTILE][0])
        expect(page.locator("#hits-bm25")).to_contain_text("<script>pwned=4</script> aardvark")
        assert "burrow" in page.locator("#hits-bm25 mark").all_inner_texts()
        watched.require_no_errors()


def test_a_link_cannot_bring_markup_or_keep_a_key(browser: Browser, place: Place) -> None:
    bad = "<img src=x onerror=pwned=1>"
    with opened(browser, place.url(query=bad, filter=bad, name=bad)) as watched:
        expect(watched.page.locator("#trouble")).to_contain_text(f"there is no semantic field {bad}")
        expect(watched.page.locator("#filter-wrong")).to_contain_text("neither")
        assert watched.page.evaluate("typeof pwned") == "undefined"
        assert watched.page.locator("main img").count() == 0
        watched.require_no_errors()


def test_scripts_that_are_not_the_pages_own_are_stopped(browser: Browser, place: Place) -> None:
    """What keeps the page safe if a text ever became markup in it."""
    with opened(browser, place.url()) as watched:
        stopped = watched.page.evaluate("""() => {
          const script = document.createElement("script");
          try { script.text = "pwned = 1"; } catch (error) { script.append("pwned = 1"); }
          try { document.body.append(script); } catch (error) { /* stopped even earlier */ }
          try { document.body.innerHTML = "<img src=x onerror='pwned=2'>"; } catch (error) { return error.name; }
        }""")
        assert stopped == "TypeError"
        assert watched.page.evaluate("typeof pwned") == "undefined"
        assert watched.page.evaluate("violations.length") > 0


def test_the_policy_names_what_stands_in_the_page() -> None:
    told = dict(part.split(" ", 1) for part in policy(PAGE).split("; "))
    assert re.fullmatch(r"'sha256-[A-Za-z0-9+/]{43}='", told["script-src"])
    assert re.fullmatch(r"'sha256-[A-Za-z0-9+/]{43}='", told["style-src"])
    assert (told["default-src"], told["connect-src"]) == ("'none'", "'self'")
    assert not re.search(r"(?:src|href|url\()\s*=?\s*[\"']?(?:https?:)?//", PAGE)
