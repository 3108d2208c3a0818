"""The page at ``/``: pick an index, type, and see three rankings side by side."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

router = APIRouter(include_in_schema=False)

PAGE = Path(__file__).with_name("playground.html")

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:"
"""The page is one file and calls only this server."""


@router.get("/")
async def page() -> HTMLResponse:
    """Return the page."""
    headers = {"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY"}
    return HTMLResponse(PAGE.read_text("utf-8"), headers=headers)
