"""Direct methods: what headquarters can ask of a gateway. No SDK types; docs/methods.md documents each.

Each takes a JSON object of checked parameters and answers with an HTTP-like status and a JSON object of bounded size,
within seconds. What takes longer becomes a job (jobs.py), reported when it is over.
"""

import json
import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from edge_module.blobs import UploadSas
from edge_module.columns import checked_media_id
from edge_module.domain import Variant
from edge_module.errors import BusyError, ConfigError, PonyaError, WireError
from edge_module.fields import Fields
from edge_module.log import LEVELS
from edge_module.uploads import ASKABLE, Asked

_log = logging.getLogger(__name__)

OK: Final = 200
ACCEPTED: Final = 202
BAD_REQUEST: Final = 400
NOT_FOUND: Final = 404
GONE: Final = 410
FAILED: Final = 500
BUSY: Final = 503
SLOW: Final = 504

ANSWER_MAX_BYTES: Final = 128 * 1024 - 1024
"""IoT Hub's limit of a payload is 128 KB; some of it is room for the envelope."""

ANSWER_WITHIN_S: Final = 4.5
"""The caller waits 5 s."""

_AT_ONCE: Final = 4
_LOG_LINES_MAX: Final = 1000
_RELEASE_MAX: Final = 1000
_CARD_ID_MAX: Final = 200

Answer = tuple[int, dict[str, Any]]


class Gateway(Protocol):
    """What the methods do; app.py puts it together. Each may be called from any thread."""

    def status(self) -> Mapping[str, float | str]:
        """What `status` telemetry says, now."""

    def rescan(self, card_id: str | None) -> list[str]:
        """Read a card again, or every card that is in. Returns the ids of those that are."""

    def upload(self, media_id: str, variant: Variant) -> Asked:
        """Owe headquarters a picture."""

    def release(self, media_id: str) -> bool:
        """An original need not be kept any more. Returns whether there is one."""

    def retry(self) -> Mapping[str, int]:
        """Try again at once whatever failed or waits. Returns how many, by kind."""

    def use_credential(self, sas: UploadSas) -> None:
        """Use an upload credential from now on."""

    def logs(self, lines: int, level: str) -> list[str]:
        """The last lines of the log from a level on, the oldest first."""

    def begin(self, kind: str, parameters: Mapping[str, Any]) -> str:
        """Begin a job. Returns its id; raises `BusyError`."""

    def assign(self, card_id: str, deployment_key: str | None) -> Mapping[str, Any]:
        """Headquarters has decided whose card this is. Returns the card's receipt; raises `ConfigError`."""


@dataclass(frozen=True, slots=True)
class Method:
    """A direct method: what answers it, and the parameters that it knows."""

    answer: Callable[[Gateway, Fields], Answer]
    parameters: frozenset[str] = field(default=frozenset())


def _get_status(gateway: Gateway, _given: Fields) -> Answer:
    return OK, dict(gateway.status())


def _rescan_card(gateway: Gateway, given: Fields) -> Answer:
    wanted = given.text("card_id", longest=_CARD_ID_MAX) if given.has("card_id") else None
    found = gateway.rescan(wanted)
    if wanted is not None and not found:
        return NOT_FOUND, {"error": f"rescanCard.card_id: {wanted[:80]!r} is not in this gateway"}
    return ACCEPTED, {"card_ids": found}


_UPLOAD_STATUS: Final = {
    Asked.QUEUED: ACCEPTED,
    Asked.STORED: OK,
    Asked.GONE: GONE,
    Asked.WITHHELD: GONE,
    Asked.UNKNOWN: NOT_FOUND,
}


def _upload_media(gateway: Gateway, given: Fields) -> Answer:
    media_id, name = _media_id(given.text("media_id", longest=64), given), given.text("variant", longest=20)
    if name not in ASKABLE:
        raise WireError(f"{given.where}.variant: {name!r} is not one of {', '.join(ASKABLE)}")
    state = gateway.upload(media_id, Variant(name))
    return _UPLOAD_STATUS[state], {"state": state}


def _release_media(gateway: Gateway, given: Fields) -> Answer:
    wanted = given.column("media_ids", str, None, nulls=False)
    if not 0 < len(wanted) <= _RELEASE_MAX:
        raise WireError(f"{given.where}.media_ids: must have 1 to {_RELEASE_MAX} of them")
    ids = [_media_id(text, given) for text in wanted]
    released = [media_id for media_id in ids if gateway.release(media_id)]
    return OK, {"released": len(released), "not_kept": [i for i in ids if i not in set(released)]}


def _retry_failed(gateway: Gateway, _given: Fields) -> Answer:
    return OK, dict(gateway.retry())


def _set_upload_sas(gateway: Gateway, given: Fields) -> Answer:
    gateway.use_credential(UploadSas.from_json(given.values))
    return OK, {}


def _get_logs(gateway: Gateway, given: Fields) -> Answer:
    lines = given.integer("lines", least=1) if given.has("lines") else 100
    level = given.text("level", longest=20) if given.has("level") else "info"
    if lines > _LOG_LINES_MAX:
        raise WireError(f"{given.where}.lines: at most {_LOG_LINES_MAX}")
    if level not in LEVELS:
        raise WireError(f"{given.where}.level: {level!r} is not one of {', '.join(LEVELS)}")
    found = gateway.logs(lines, level)
    fitting: list[str] = []
    size = 0
    for line in reversed(found):  # the newest matter most
        size += len(json.dumps(line)) + 2
        if size > ANSWER_MAX_BYTES - 200:
            break
        fitting.append(line)
    return OK, {"lines": fitting[::-1], "omitted": len(found) - len(fitting)}


def _run_self_test(gateway: Gateway, _given: Fields) -> Answer:
    return ACCEPTED, {"job": gateway.begin("runSelfTest", {})}


def _reclassify(gateway: Gateway, given: Fields) -> Answer:
    card_id = given.text("card_id", longest=_CARD_ID_MAX) if given.has("card_id") else None
    return ACCEPTED, {"job": gateway.begin("reclassify", {"card_id": card_id})}


def _assign_card(gateway: Gateway, given: Fields) -> Answer:
    if "deployment_key" not in given.values:
        raise WireError(f"{given.where}.deployment_key: is missing; null takes an assignment back")
    key = given.text("deployment_key", longest=_CARD_ID_MAX) if given.has("deployment_key") else None
    return OK, dict(gateway.assign(given.text("card_id", longest=_CARD_ID_MAX), key))


METHODS: Final = {
    "getStatus": Method(_get_status),
    "rescanCard": Method(_rescan_card, frozenset({"card_id"})),
    "uploadMedia": Method(_upload_media, frozenset({"media_id", "variant"})),
    "releaseMedia": Method(_release_media, frozenset({"media_ids"})),
    "retryFailed": Method(_retry_failed),
    "setUploadSas": Method(_set_upload_sas, frozenset({"container_url", "sas", "expires_at"})),
    "getLogs": Method(_get_logs, frozenset({"lines", "level"})),
    "runSelfTest": Method(_run_self_test),
    "reclassify": Method(_reclassify, frozenset({"card_id"})),
    "assignCard": Method(_assign_card, frozenset({"card_id", "deployment_key"})),
}
"""Every direct method there is. docs/methods.md and docs/settings.dtdl.json have each."""


class Methods:
    """Answers direct methods by name."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._free = threading.BoundedSemaphore(_AT_ONCE)

    def answer(self, name: str, payload: object) -> Answer:
        """Run one method. Never raises: a fault is an answer too, and so is that it takes longer than may be waited."""
        method = METHODS.get(name)
        if method is None:
            return NOT_FOUND, {"error": f"no method {name[:80]!r}; there are {', '.join(METHODS)}"}
        if not self._free.acquire(blocking=False):
            return BUSY, {"error": f"{_AT_ONCE} methods run already; ask again later"}
        future: Future[Answer] = Future()

        def work() -> None:
            try:
                future.set_result(self._run(name, method, payload))
            finally:
                self._free.release()

        # A daemon: a method that hangs holds up no end of the process, as an executor's would.
        threading.Thread(target=work, name=f"method {name}", daemon=True).start()
        try:
            return future.result(ANSWER_WITHIN_S)
        except FutureTimeoutError:
            return SLOW, {"error": f"not done within {ANSWER_WITHIN_S} s; it goes on. Ask getStatus, or again later"}

    def _run(self, name: str, method: Method, payload: object) -> Answer:
        try:
            # azure-iot-hub sends an empty text where no payload was given.
            given = Fields.of({} if payload in (None, "") else payload, name)
            if unknown := sorted(given.values.keys() - method.parameters):
                known = ", ".join(sorted(method.parameters)) or "it takes none"
                raise WireError(f"{name}: {unknown[0][:80]!r} is no parameter; there are: {known}")  # noqa: TRY301
            status, answer = method.answer(self._gateway, given)
        except (WireError, ConfigError) as exc:
            return BAD_REQUEST, {"error": str(exc)[:2000]}
        except BusyError as exc:
            return BUSY, {"error": str(exc)}
        except (PonyaError, OSError) as exc:
            _log.exception("method %s failed", name)
            return FAILED, {"error": str(exc)[:2000]}
        except Exception:  # noqa: BLE001 - top of a thread: whatever is wrong with one method ends no gateway
            _log.exception("method %s failed", name)
            return FAILED, {"error": "a fault of the software; getLogs has it"}
        if len(json.dumps(answer)) > ANSWER_MAX_BYTES:
            _log.error("method %s: its answer would not fit into 128 KB", name)
            return FAILED, {"error": "the answer would not fit into 128 KB"}
        return status, answer


def _media_id(text: str, given: Fields) -> str:
    try:
        media_id = checked_media_id(text)
    except (ValueError, WireError) as exc:
        raise WireError(f"{given.where}: {text[:80]!r} is no media id: {exc}") from exc
    if not media_id:
        raise WireError(f"{given.where}: a media id is empty")
    return media_id
