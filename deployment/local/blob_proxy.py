"""A reverse proxy in front of Azurite that fails on purpose: refuses, hangs, breaks off. For tests."""

import asyncio
import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web
from yarl import URL

from deployment.local import admin
from deployment.local.faults import Fault, Hop
from deployment.local.state import State, listen, write_private

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_log = logging.getLogger(__name__)

_CODES: Final = {
    403: "AuthorizationFailure",
    404: "ResourceNotFound",
    409: "ContainerBeingDeleted",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServerBusy",
}
"""The usual ``x-ms-error-code`` of a status."""
_HOP_BY_HOP: Final = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "proxy-connection"}
_ADDED: Final = {"Accept", "Accept-Encoding", "Content-Type", "User-Agent"}
"""What aiohttp would add, and so spoil the signature, which covers headers that are not there too."""
_CHUNK_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobProxyOptions:
    """Settings of the proxy.

    Attributes:
        target_url: Azurite's address.
        port: to listen on; 0 is a free one, the same again after a restart.
    """

    target_url: str
    port: int = 0
    address: str = "127.0.0.1"


class BlobProxy:
    """The process."""

    def __init__(self, state: State, options: BlobProxyOptions) -> None:
        self._folder = state.folder("blob-proxy")
        self._options = options
        self._hop = Hop()
        self._requests = 0

    async def start(self) -> dict[str, Any]:
        """Listen."""
        # Azurite may have been killed and started again: no connection to it is kept.
        self._session = aiohttp.ClientSession(
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None),
            connector=aiohttp.TCPConnector(force_close=True, limit=0),
        )
        app = web.Application(client_max_size=0)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1, auto_decompress=False)
        await self._runner.setup()
        listener = listen(self._folder / "ports.json", "blob", self._options.address, self._options.port)
        await web.SockSite(self._runner, listener).start()
        admin_url = await admin.serve(self._folder, {"storage": self._hop}, lambda: {"requests": self._requests})
        url = f"http://{self._options.address}:{listener.getsockname()[1]}"
        write_private(self._folder / "blob-proxy.json", json.dumps({"url": url}))
        return {"process": "blob-proxy", "url": url, "admin": admin_url}

    async def stop(self) -> None:
        """End all connections."""
        self._hop.set(Fault())
        if hasattr(self, "_runner"):
            await self._runner.cleanup()
            await self._session.close()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self._requests += 1
        fault = self._hop.struck(request.method, request.path) or Fault()
        await asyncio.sleep(fault.latency_ms / 1000)
        if fault.hang:
            await self._hop.hang()
        if fault.cut or fault.hang:
            return _broken_off(request)
        if fault.cut_at == "request":
            await self._read_half(request)
            return _broken_off(request)
        if fault.status:
            async for _ in request.content.iter_chunked(_CHUNK_BYTES):
                pass
            code = fault.error_code or _CODES.get(fault.status, "InternalError")
            text = (
                f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>on purpose</Message></Error>'
            )
            return web.Response(
                status=fault.status, text=text, content_type="application/xml", headers={"x-ms-error-code": code}
            )
        try:
            return await self._forward(request, fault)
        except (aiohttp.ClientError, ConnectionError) as exc:
            _log.info("%s %s broken off: %r", request.method, request.path, exc)
            return _broken_off(request)

    async def _forward(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        parts = urlsplit(request.raw_path)
        # The signature covers the path as it was sent, so that nothing may be decoded and encoded again.
        target = URL(self._options.target_url + parts.path + (f"?{parts.query}" if parts.query else ""), encoded=True)
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _HOP_BY_HOP}
        # Told to close, node resets the connection on a body that it refuses without reading, and the refusal is lost
        # as often as not; otherwise it reads to the end. The connection is not kept all the same.
        headers["Connection"] = "keep-alive"
        body = request.content.iter_chunked(_CHUNK_BYTES) if request.body_exists else None
        async with self._session.request(
            request.method, target, headers=headers, data=body, allow_redirects=False, skip_auto_headers=_ADDED
        ) as answer:
            kept = {k: v for k, v in answer.headers.items() if k.lower() not in _HOP_BY_HOP}
            if fault.cut_at == "response":
                await answer.read()
                return await self._half_answer(request, answer.status, kept, await answer.read())
            response = web.StreamResponse(status=answer.status, headers=kept)
            await response.prepare(request)
            async for chunk in answer.content.iter_chunked(_CHUNK_BYTES):
                await response.write(chunk)
            await response.write_eof()
            return response

    async def _half_answer(
        self, request: web.Request, status: int, headers: dict[str, str], body: bytes
    ) -> web.StreamResponse:
        if body and request.method != "HEAD":
            response = web.StreamResponse(status=status, headers=headers)
            await response.prepare(request)
            await response.write(body[: len(body) // 2])
        return _broken_off(request)

    async def _read_half(self, request: web.Request) -> None:
        wanted, read = (request.content_length or 0) // 2, 0
        chunks: AsyncIterator[bytes] = aiter(request.content.iter_chunked(_CHUNK_BYTES))
        while read < wanted:
            read += len(await anext(chunks))


def _broken_off(request: web.Request) -> web.StreamResponse:
    """End the connection without (the rest of) an answer."""
    if request.transport:
        request.transport.abort()
    return web.Response()
