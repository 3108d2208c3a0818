"""A place to play in: a server with an index of articles, and the playground in a browser."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from elasticsearch import Elasticsearch
from playwright.sync_api import Page, expect

import es_semantic
from tests.embedder import TinyEmbedder
from tests.nodes import remove_everything
from tests.serving import OneModel, Server, serving

MODES = ["bm25", "hybrid", "knn"]

ARTICLES = {
    "cancel": ("Cancel a subscription", "Open the billing settings to cancel the subscription.", "en"),
    "plans": ("Plans", "Every subscription has a price for each month.", "en"),
    "invoices": ("Invoices", "Invoices are sent by mail every month.", "en"),
    "password": ("Passwords", "Ask for a link by mail and choose a new password.", "en"),
    "account": ("Delete the account", "This ends every subscription and cannot be undone.", "en"),
    "refunds": ("Refunds", "If you cancel within fourteen days you get all of it back.", "en"),
    "abo": ("Kündigung", "So endet ein Abonnement, auf Englisch subscription.", "de"),
    # The model of these tests splits at spaces alone, and so finds no word of the query here; BM25 finds all.
    "by-words": ("", "zebra! quagga! zebra! quagga!", "en"),
    "by-meaning": ("", "zebra quagga and many further words that are of no use for a score of BM25", "en"),
    "hostile\"><img src=x onerror='pwned=1'>": (
        "<img src=x onerror='pwned=2'><script>pwned=3</script> aardvark",
        "<script>pwned=4</script> aardvark <em onmouseover='pwned=5'>burrow</em> <svg/onload='pwned=6'>",
        "en",
    ),
}


HOSTILE = next(id for id in ARTICLES if id.startswith("hostile"))


@dataclass(frozen=True)
class Place:
    """A server, its source of models, and an index."""

    server: Server
    source: OneModel
    index: str

    def url(self, **settings: str) -> str:
        """Return the playground's address with a query and settings."""
        return f"{self.server.url}/#{urlencode({'index': self.index, **settings})}"


@contextmanager
def played(folder: Path, node_url: str, client: Elasticsearch) -> Iterator[Place]:
    """Serve an index of the articles, and remove it afterwards."""
    prefix = f"test-{uuid.uuid4().hex[:12]}"
    index = f"{prefix}-articles"
    try:
        properties = {"title": {"type": "text"}, "body": {"type": "text"}, "lang": {"type": "keyword"}}
        client.indices.create(index=index, mappings={"properties": properties}, settings={"number_of_replicas": 0})
        for id, (title, body, lang) in ARTICLES.items():
            client.index(index=index, id=id, document={"title": title, "body": body, "lang": lang})
        client.indices.refresh(index=index)
        es_semantic.attach(client, index, ["title", "body"], model=TinyEmbedder())
        es_semantic.sync(client, index, model=TinyEmbedder())
        source = OneModel()
        with serving(folder, node_url, source=source) as server:
            yield Place(server, source, index)
    finally:
        remove_everything(client, prefix)


def ask(page: Page, query: str) -> None:
    """Type a query and wait until all three rankings are of it."""
    page.fill("#query", "")
    expect(page.locator(".hit")).to_have_count(0)
    page.locator("#query").press_sequentially(query)
    settled(page)


def settled(page: Page) -> None:
    """Wait until the page has asked what its controls say, and shows the answers."""
    for mode in MODES:
        expect(page.locator(f"#column-{mode}")).to_have_attribute("aria-busy", "false")
    expect(page.locator("#status")).to_contain_text("Hits:")


def documents(page: Page, mode: str) -> list[str]:
    """The ids of a column's documents, best first."""
    shown = page.locator(f"#hits-{mode} .hit").evaluate_all("hits => hits.map(hit => hit.dataset.document)")
    return [json.loads(each)[1] for each in shown]


def lines(page: Page) -> set[tuple[str, str]]:
    """Which document is joined between which columns."""
    drawn = page.locator("#threads path").evaluate_all(
        "all => all.map(({dataset}) => [dataset.document, dataset.joins])"
    )
    return {(json.loads(document)[1], joins) for document, joins in drawn}
