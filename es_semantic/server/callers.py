"""What routes depend on: the server's parts, and who is calling."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader

from es_semantic.server.access import Access
from es_semantic.server.service import Service

AUTHORIZATION = APIKeyHeader(
    name="Authorization", scheme_name="key", description="Bearer <key>; see es-semantic key create", auto_error=False
)


async def parts(request: Request) -> Service:
    """Return the server's parts."""
    return cast(Service, request.app.state.service)


async def caller(request: Request, _: Annotated[str | None, Security(AUTHORIZATION)]) -> Access:
    """Return who is calling, as the guard has found out."""
    return cast(Access, request.state.access)


Parts = Annotated[Service, Depends(parts)]
Caller = Annotated[Access, Depends(caller)]
