"""The admin interface of a process: its state, and faults on purpose.

HTTP on loopback, with a token from a file that only its owner may read.
"""

import hmac
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from deployment.local.errors import RefusedError, unauthorized
from deployment.local.faults import Fault, Hop
from deployment.local.state import listen, secret, write_private

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def application(
    token: str, hops: dict[str, Hop], status: Callable[[], dict[str, Any]], actions: dict[str, Callable[[], None]]
) -> web.Application:
    """Build the interface.

    Args:
        token: bearer token every request must carry.
        hops: what can be disturbed, by name.
        status: what ``GET /status`` shows.
        actions: what ``POST /NAME`` does.
    """

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            given = request.headers.get("Authorization", "").encode(errors="replace")
            if not hmac.compare_digest(given, f"Bearer {token}".encode()):
                raise unauthorized("wants 'Authorization: Bearer' with the token in admin.token")
            return await handler(request)
        except RefusedError as exc:
            return web.json_response({"error": str(exc)}, status=exc.status)
        except (ValueError, RecursionError) as exc:
            return web.json_response({"error": f"not JSON: {exc}"}, status=400)
        except KeyError as exc:
            return web.json_response({"error": f"no {exc}"}, status=404)

    async def show_status(_request: web.Request) -> web.Response:
        return web.json_response(status())

    async def show_faults(_request: web.Request) -> web.Response:
        return web.json_response({name: hop.state() for name, hop in hops.items()})

    async def set_fault(request: web.Request) -> web.Response:
        hops[request.match_info["hop"]].set(Fault.from_json(await request.json()))
        return await show_faults(request)

    async def clear_faults(request: web.Request) -> web.Response:
        for hop in hops.values():
            hop.set(Fault())
        return await show_faults(request)

    async def act(request: web.Request) -> web.Response:
        actions[request.match_info["action"]]()
        return web.json_response(status())

    app = web.Application(middlewares=[guarded])
    app.router.add_get("/status", show_status)
    app.router.add_get("/faults", show_faults)
    app.router.add_put("/faults/{hop}", set_fault)
    app.router.add_delete("/faults", clear_faults)
    app.router.add_post("/{action}", act)
    return app


async def serve(
    folder: Path,
    hops: dict[str, Hop],
    status: Callable[[], dict[str, Any]],
    actions: dict[str, Callable[[], None]] | None = None,
) -> str:
    """Serve the interface on a free port of loopback; ``admin.json`` in ``folder`` says where. Returns its address."""
    app = application(secret(folder / "admin.token"), hops, status, actions or {})
    listener = listen(folder / "ports.json", "admin", "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    write_private(folder / "admin.json", json.dumps({"url": url}))
    return url
