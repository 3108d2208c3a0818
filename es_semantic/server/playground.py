"""The page at ``/``: pick an index, type, and see three rankings side by side."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

router = APIRouter(include_in_schema=False)

PAGE = Path(__file__).with_name("playground.html").read_text("utf-8")


def policy(page: str) -> str:
    """Return the Content-Security-Policy of a page that is one file and calls only its own server.

    Only the scripts and styles that stand in it run, known by their SHA-256 (CSP Level 3, "hash-source"): no handler in
    an attribute, no script that came with a document. No text can be made into HTML (W3C "Trusted Types").
    """
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {_hashes(page, 'script')}",
            f"style-src {_hashes(page, 'style')}",
            "img-src data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
        ]
    )


def _hashes(page: str, tag: str) -> str:
    digests = (hashlib.sha256(text.encode()).digest() for text in re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL))
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)


HEADERS = {
    "Content-Security-Policy": policy(PAGE),
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@router.get("/")
async def page() -> HTMLResponse:
    """Return the page."""
    return HTMLResponse(PAGE, headers=HEADERS)
