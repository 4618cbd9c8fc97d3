"""IoT Hub's service REST interface: identities, twins, queries, direct methods, deployments on a device."""

import json
import logging
import re
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web

from deployment.local import HUB_NAME, query, sas, twin
from deployment.local.errors import RefusedError, invalid, unauthorized
from deployment.local.faults import Hop
from deployment.local.links import Links
from deployment.local.registry import Identity, Registry
from edge_module.merge_patch import merged

_log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

METHOD_BYTES: Final = 128 * 1024
"""IoT Hub's limit for the payload of a direct method."""
_TIMEOUT_S: Final = range(5, 301)
"""IoT Hub's bounds for the time a method may take to answer."""
_DEFAULT_TIMEOUT_S: Final = 30
_PAGE: Final = 100
_BODY_BYTES: Final = 1024 * 1024


class RegistryApi:
    """The interface over the registry and the links to the gateways."""

    def __init__(self, registry: Registry, links: Links, *, policy_key: bytes, host_names: list[str]) -> None:
        self.hop = Hop()
        self._registry = registry
        self._links = links
        self._policy_key = policy_key
        self._host_names = [HUB_NAME, *host_names]

    def application(self) -> web.Application:
        """The routes, with the links of the gateways beside them."""
        app = web.Application(middlewares=[self._guarded], client_max_size=_BODY_BYTES)
        add = app.router.add_route
        add("GET", "/gateways/{device}/link", self._links.serve)
        for path in ("/devices", "/devices/"):  # the second is how azure-iothub for Node asks
            add("GET", path, self._list_devices)
        add("POST", "/devices/query", self._query)
        add("GET", "/devices/{device}/modules", self._list_modules)
        add("POST", "/devices/{device}/applyConfigurationContent", self._deploy)
        for suffix in ("/{device}", "/{device}/modules/{module}"):
            add("GET", "/devices" + suffix, self._get_identity)
            add("PUT", "/devices" + suffix, self._put_identity)
            add("DELETE", "/devices" + suffix, self._delete_identity)
            add("GET", "/twins" + suffix, self._get_twin)
            add("PATCH", "/twins" + suffix, self._write_twin)
            add("PUT", "/twins" + suffix, self._write_twin)
            add("POST", "/twins" + suffix + "/methods", self._call)
        return app

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            # A gateway's link carries its own token, which links.py checks.
            if not request.path.startswith("/gateways/"):
                await self._disturb(request)
                self._authorize(request.headers.get("Authorization", ""))
            return await handler(request)
        except RefusedError as exc:
            return _refusal(exc)
        except (ValueError, RecursionError) as exc:
            return _refusal(invalid(f"the body is not JSON: {exc}"))

    async def _disturb(self, request: web.Request) -> None:
        fault = self.hop.struck(request.method, request.path)
        if fault is None:
            return
        await self.hop.delay()
        if fault.cut and request.transport:
            request.transport.abort()
        if fault.status:
            raise RefusedError(fault.status, fault.error_code or "ServerError", fault.status * 1000, "on purpose")

    def _authorize(self, token: str) -> None:
        refused = unauthorized("no shared access signature")
        for name in self._host_names:
            try:
                sas.check(token, name, [self._policy_key])
            except RefusedError as exc:
                refused = exc
            else:
                return
        raise refused

    async def _list_devices(self, request: web.Request) -> web.Response:
        top = int(request.query.get("top", "1000"))
        return web.json_response([self._identity(one) for one in self._registry.every(modules=False)[:top]])

    async def _list_modules(self, request: web.Request) -> web.Response:
        return web.json_response([self._identity(one) for one in self._registry.modules(request.match_info["device"])])

    async def _get_identity(self, request: web.Request) -> web.Response:
        return self._identity_response(self._registry.get(*_key(request)))

    async def _put_identity(self, request: web.Request) -> web.Response:
        key = _key(request)
        identity = self._registry.put(*key, await request.json(), request.headers.get("If-Match"))
        if identity.module_id:
            self._links.send_modules(identity.device_id)
        elif request.headers.get("If-Match"):
            # Its status or keys may be others now: it has to authenticate again.
            self._links.drop(identity.device_id)
        return self._identity_response(identity)

    async def _delete_identity(self, request: web.Request) -> web.Response:
        device_id, module_id = _key(request)
        self._registry.delete(device_id, module_id, request.headers.get("If-Match", "*"))
        if module_id:
            self._links.send_modules(device_id)
        else:
            self._links.drop(device_id)
        return web.Response(status=204)

    async def _get_twin(self, request: web.Request) -> web.Response:
        return self._twin_response(self._registry.get(*_key(request)))

    async def _write_twin(self, request: web.Request) -> web.Response:
        key = _key(request)
        before = self._registry.get(*key)
        etag = request.headers.get("If-Match", "*")
        after = self._registry.patch_twin(key, await request.json(), etag, whole=request.method == "PUT")
        self._tell(before, after, (await request.json()) if request.method == "PATCH" else None)
        return self._twin_response(after)

    async def _query(self, request: web.Request) -> web.Response:
        body = await request.json()
        if not isinstance(body, dict) or not isinstance(body.get("query"), str):
            raise invalid("the body wants a text 'query'")
        wanted = query.parse(body["query"])
        try:
            page = max(1, int(request.headers.get("x-ms-max-item-count", _PAGE)))
            start = max(0, int(request.headers.get("x-ms-continuation") or 0))
        except ValueError as exc:
            raise invalid("x-ms-max-item-count or x-ms-continuation is not as it was given out") from exc
        found = [t for t in map(self._twin, self._registry.every(modules=wanted.modules)) if wanted.matches(t)]
        headers = {"x-ms-item-type": "twin"}
        if start + page < len(found):
            headers["x-ms-continuation"] = str(start + page)
        return web.json_response(found[start : start + page], headers=headers)

    async def _call(self, request: web.Request) -> web.Response:
        key = _key(request)
        self._registry.get(*key)
        body = await request.json()
        if not isinstance(body, dict) or not isinstance(body.get("methodName"), str) or not body["methodName"]:
            raise invalid("the body wants a 'methodName'")
        if len(json.dumps(body.get("payload")).encode()) > METHOD_BYTES:
            raise RefusedError(413, "MessageTooLarge", 413001, f"a method's payload has at most {METHOD_BYTES} bytes")
        timeout_s = body.get("responseTimeoutInSeconds") or _DEFAULT_TIMEOUT_S
        connect_s = body.get("connectTimeoutInSeconds") or 0
        if timeout_s not in _TIMEOUT_S or connect_s not in range(301):
            raise invalid("responseTimeoutInSeconds: 5 to 300; connectTimeoutInSeconds: 0 to 300")
        answer = await self._links.call(
            key, body["methodName"], body.get("payload"), response_timeout_s=timeout_s, connect_timeout_s=connect_s
        )
        return web.json_response(answer)

    async def _deploy(self, request: web.Request) -> web.Response:
        """Apply configuration content: what a deployment writes into the modules' desired properties."""
        device_id = request.match_info["device"]
        self._registry.get(device_id)
        body = await request.json()
        modules = body.get("modulesContent") if isinstance(body, dict) else None
        if not isinstance(modules, dict):
            raise invalid("the body wants 'modulesContent'")
        changes = {name: self._deployed(device_id, name, content) for name, content in modules.items()}
        for name, desired in changes.items():
            if not self._registry.has(device_id, name):
                self._registry.create(device_id, name, {"managedBy": "iotEdge"})
                self._links.send_modules(device_id)
            before = self._registry.get(device_id, name)
            self._tell(before, self._registry.set_desired((device_id, name), desired), None)
        return web.Response(status=204)

    def _deployed(self, device_id: str, module_id: str, content: Any) -> twin.Section:
        """Desired properties under a deployment: ``properties.desired`` replaces them all, a sub-path its part."""
        if not isinstance(content, dict):
            raise invalid(f"modulesContent.{module_id} must be a JSON object")
        known = self._registry.has(device_id, module_id)
        desired = self._registry.get(device_id, module_id).desired if known else {}
        for path, value in sorted(content.items()):
            found = re.fullmatch(r"properties\.desired(?:\.(.+))?", path)
            if not found:
                raise invalid(f"modulesContent.{module_id}: {path!r} is not properties.desired or below it")
            if not found[1]:
                desired = merged({}, twin.check_patch(value, path))
                continue
            nested: Any = value
            for key in reversed(found[1].split(".")):
                nested = {key: nested}
            # Once without the part, once with it: a deployment replaces, it does not merge.
            twin.check_patch(nested, "properties.desired")
            desired = merged(_without(desired, found[1].split(".")), nested)
        twin.check_size(desired, "Properties.Desired", twin.PROPERTIES_BYTES)
        return desired

    def _tell(self, before: Identity, after: Identity, body: Any) -> None:
        """Pass a change of desired properties on; a PATCH as it came, anything else as the difference."""
        if after.desired_version == before.desired_version:
            return
        patch = twin.difference(before.desired, after.desired)
        if body is not None:
            written = body["properties"]["desired"]
            patch = {key: value for key, value in written.items() if not key.startswith("$")}
        self._links.send_desired(after, patch)

    def _identity(self, one: Identity) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "deviceId": one.device_id,
            "generationId": one.generation_id,
            "etag": one.identity_etag,
            "connectionState": self._connection_state(one),
            "status": one.status,
            "statusReason": None,
            "connectionStateUpdatedTime": one.last_activity,
            "lastActivityTime": one.last_activity,
            "cloudToDeviceMessageCount": 0,
            "authentication": {
                "symmetricKey": {"primaryKey": one.primary_key, "secondaryKey": one.secondary_key},
                "x509Thumbprint": {"primaryThumbprint": None, "secondaryThumbprint": None},
                "type": "sas",
            },
        }
        if one.module_id:
            return {**shown, "moduleId": one.module_id, "managedBy": one.managed_by or None}
        return {**shown, "capabilities": {"iotEdge": one.iot_edge}}

    def _twin(self, one: Identity) -> dict[str, Any]:
        desired = {**one.desired, "$metadata": one.desired_metadata, "$version": one.desired_version}
        reported = {**one.reported, "$metadata": one.reported_metadata, "$version": one.reported_version}
        shown: dict[str, Any] = {
            "deviceId": one.device_id,
            "etag": one.twin_etag,
            "deviceEtag": one.identity_etag,
            "version": one.twin_version,
            "status": one.status,
            "connectionState": self._connection_state(one),
            "lastActivityTime": one.last_activity,
            "cloudToDeviceMessageCount": 0,
            "authenticationType": "sas",
            "x509Thumbprint": {"primaryThumbprint": None, "secondaryThumbprint": None},
            "tags": one.tags,
            "properties": {"desired": desired, "reported": reported},
        }
        return {
            **shown,
            **({"moduleId": one.module_id} if one.module_id else {"capabilities": {"iotEdge": one.iot_edge}}),
        }

    def _connection_state(self, one: Identity) -> str:
        return "Connected" if self._links.is_online(one.key) else "Disconnected"

    def _identity_response(self, one: Identity) -> web.Response:
        return web.json_response(self._identity(one), headers={"ETag": f'"{one.identity_etag}"'})

    def _twin_response(self, one: Identity) -> web.Response:
        return web.json_response(self._twin(one), headers={"ETag": f'"{one.twin_etag}"'})


def _key(request: web.Request) -> tuple[str, str]:
    return request.match_info["device"], request.match_info.get("module", "")


def _without(section: twin.Section, path: list[str]) -> twin.Section:
    head, *rest = path
    below = section.get(head)
    if not rest or not isinstance(below, dict):
        return {key: value for key, value in section.items() if key != head}
    return {**section, head: _without(below, rest)}


def _refusal(refused: RefusedError) -> web.Response:
    tracking = uuid.uuid4().hex
    _log.info("refused with %s %s: %s (%s)", refused.status, refused.code, refused, tracking)
    message = f"ErrorCode:{refused.code};{refused}"
    if refused.code in {"DeviceNotOnline", "GatewayTimeout"}:
        # IoT Hub answers a failed method call with JSON inside a text.
        message = json.dumps({"errorCode": refused.number, "trackingId": tracking, "message": str(refused)})
    body = {"Message": message, "ExceptionMessage": f"Tracking ID:{tracking}", "errorCode": refused.number}
    return web.json_response(body, status=refused.status, headers={"iothub-errorcode": refused.code})
