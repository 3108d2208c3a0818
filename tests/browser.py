"""Debian's Chromium without a window, driven by Playwright; every page is watched for errors."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

ARGUMENTS = [
    # Without it, Chromium does not run as root, as which containers run.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

DESKTOP = (1440, 900)
PHONE = (390, 844)

_WATCH = """
globalThis.violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
  violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start Chromium with a fresh profile; skip the test where it is not installed."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Watched:
    """A page, the bodies that it has posted, and what went wrong in it."""

    page: Page
    posted: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def require_no_errors(self) -> None:
        """Make sure that nothing failed in the page and nothing was stopped by its Content-Security-Policy."""
        assert self.errors == []
        assert self.page.evaluate("violations") == []


@contextmanager
def opened(browser: Browser, url: str, size: tuple[int, int] = DESKTOP, **options: Any) -> Iterator[Watched]:
    """Open a page in a context of its own. Answers that are no 200 are not errors of the page."""
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
    try:
        page = context.new_page()
        watched = Watched(page)
        page.add_init_script(_WATCH)
        page.on("console", lambda message: _note(message, watched.errors))
        page.on("pageerror", lambda error: watched.errors.append(str(error)))
        page.on("request", lambda request: watched.posted.append(request.post_data) if request.post_data else None)
        page.goto(url)
        yield watched
    finally:
        context.close()


def _note(message: ConsoleMessage, errors: list[str]) -> None:
    if message.type in ("error", "warning") and "the server responded with a status of" not in message.text:
        errors.append(message.text)


def shoot(page: Page, name: str, otherwise: Path) -> None:
    """Save a picture of the whole page in the folder that ``ES_SEMANTIC_ARTIFACTS`` names, else in ``otherwise``."""
    folder = Path(os.environ.get("ES_SEMANTIC_ARTIFACTS") or otherwise)
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=folder / f"{name}.png", full_page=True)
