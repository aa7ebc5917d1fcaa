"""Pages of the web that may call: a browser asks before it lets a page read what another host answers (CORS).

No origin may unless the configuration names it. What is not for browsers is answered to everybody alike; only the
headers differ. Cookies are never asked for, so no page acts for somebody who is logged in elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from aiohttp import web

ANY = "*"
REMEMBERED_SECONDS = 3600


class Origins:
    """The origins that may call, such as ``https://xo.example.org``; ``*`` stands for all."""

    def __init__(self, allowed: Collection[str]) -> None:
        self._allowed = frozenset(allowed)

    def headers(self, request: web.BaseRequest) -> Mapping[str, str]:
        """What an answer to this request has to say beside its own headers."""
        origin = request.headers.get("Origin", "")
        if not self._allowed:
            return {}
        everybody = ANY in self._allowed
        if not origin or not (everybody or origin in self._allowed):
            return {} if everybody else {"Vary": "Origin"}
        told = {"Access-Control-Allow-Origin": ANY if everybody else origin, "Access-Control-Expose-Headers": "Task-Id"}
        if not everybody:
            told["Vary"] = "Origin"
        asked = request.headers.get("Access-Control-Request-Method")
        if request.method != "OPTIONS" or asked is None:
            return told
        return {
            **told,
            "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT",
            "Access-Control-Allow-Headers": request.headers.get("Access-Control-Request-Headers", "Content-Type"),
            "Access-Control-Max-Age": str(REMEMBERED_SECONDS),
        }

    def requests(self, loop: Any) -> Callable[..., web.BaseRequest] | None:
        """What aiohttp is to make requests with, so that every answer has these headers; None for its own."""
        if not self._allowed:
            return None
        headers = self.headers

        class Request(web.BaseRequest):
            async def _prepare_hook(self, response: web.StreamResponse) -> None:
                # The last moment before the head is written, however the answer came about (aiohttp 3.14).
                for name, value in headers(self).items():
                    before = response.headers.get(name)
                    response.headers[name] = value if before is None or name != "Vary" else f"{before}, {value}"

        return lambda message, payload, protocol, writer, task: Request(message, payload, protocol, writer, task, loop)
