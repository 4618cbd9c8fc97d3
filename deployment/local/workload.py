"""IoT Edge's workload API on a unix socket: a module has its tokens signed there, and learns whom to trust.

Source: the workload API of IoT Edge's daemon, as azure-iot-device's ``edge_hsm.py`` uses it.
"""

import base64
import binascii
import json
from pathlib import Path

from aiohttp import web

from deployment.local.edge_store import EdgeStore
from deployment.local.errors import RefusedError
from deployment.local.sas import signature


def application(store: EdgeStore, trust_bundle: Path) -> web.Application:
    """The API for the modules of one gateway. Who may open the socket may sign."""
    bundle = trust_bundle.read_text()

    async def trust(_request: web.Request) -> web.Response:
        return web.json_response({"certificate": bundle})

    async def sign(request: web.Request) -> web.Response:
        try:
            module = store.module(request.match_info["module"])
        except RefusedError as exc:
            return web.json_response({"message": str(exc)}, status=404)
        if request.match_info["generation"] != module.generation_id:
            return web.json_response({"message": "the module has another generation id now"}, status=404)
        try:
            data = base64.b64decode(json.loads(await request.text())["data"], validate=True)
        except (ValueError, KeyError, TypeError, binascii.Error) as exc:
            return web.json_response({"message": f"wants 'data' in base64: {exc!r}"}, status=400)
        return web.json_response({"digest": signature(module.key_bytes()[0], data)})

    app = web.Application()
    app.router.add_get("/trust-bundle", trust)
    app.router.add_post("/modules/{module}/genid/{generation}/sign", sign)
    return app
