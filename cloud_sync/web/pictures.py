"""A camera's pictures in tabs, one picture with everything known of it, and the pictures themselves."""

import re
from typing import Any, Final

from flask import Blueprint, Response, abort, render_template, request
from sqlalchemy import Row
from werkzeug.exceptions import BadRequest

from cloud_sync.deployments import Deployment
from cloud_sync.web import access, blobs
from cloud_sync.web.map_store import Seen, Span
from cloud_sync.web.pictures_store import FATES, SHOWABLE, Cursor, Tab
from cloud_sync.web.services import Services
from cloud_sync.web.texts import say
from edge_module.domain import KEPT_FATES, Fate, Variant
from edge_module.errors import MediaError, TransientDelivery

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_UNASSIGNED: Final = "unassigned"
_CACHED_S: Final = 3600
_ORIGINAL_MAX_BYTES: Final = 200_000_000
_SMALL: Final = (Variant.WITHHELD, Variant.AUDIT)
"""Variants that a whole page would only blur."""


def blueprint(services: Services) -> Blueprint:
    """Pages about pictures."""
    pages = Blueprint("pictures", __name__)

    @pages.get("/cameras/<key>")
    def camera(key: str) -> str:
        tab, before = _tab(), _cursor()
        deployment = _deployment(key)
        found = deployment.key if deployment else None
        seen = services.map.seen(Span(), [found] if found else []).get(found) or Seen()
        counts = {t: sum(seen.counts.get(fate, 0) for fate in fates) for t, fates in FATES.items()}
        page = services.pictures.page(found, tab, before)
        return render_template(
            "camera.html", deployment=deployment, key=key, tab=tab, tabs=Tab, counts=counts, page=page, before=before
        )

    def _deployment(key: str) -> Deployment | None:
        if key == _UNASSIGNED:
            return None
        return services.deployments.get(key) or abort(404, say("There is no such camera; it may have been removed."))

    @pages.get("/pictures/<key>")
    def picture(key: str) -> str:
        record = services.pictures.record(bytes.fromhex(key)) if _SHA256.fullmatch(key) else None
        if record is None:
            abort(404, say("There is no such picture."))
        deployment = services.deployments.get(record.deployment_key) if record.deployment_key else None
        stored = services.pictures.stored(record.media_id) if record.media_id else []
        shown, why_not = _shown(record, stored)
        return render_template(
            "picture.html",
            record=record,
            deployment=deployment,
            stored=stored,
            shown=shown,
            why_not=why_not,
            showable=SHOWABLE,
            small=_SMALL,
        )

    def _shown(record: Row[Any], stored: list[Row[Any]]) -> tuple[Row[Any] | None, str]:
        """The largest variant that can be looked at, or why there is none."""
        showable = [media for media in stored if media.variant in SHOWABLE]
        if not showable:
            told = services.pictures.told_of(record.media_id, record.gateway_id) if record.media_id else []
            return None, told[0].text if told else _why_not_stored(record)
        try:
            if services.blobs.is_there(showable[-1]):
                return showable[-1], ""
        except TransientDelivery:
            return None, say("It is stored, but Blob Storage does not answer just now. Try again in a minute.")
        return None, say(
            "It was stored, and has been deleted from storage since. What was recorded of it stands below."
        )

    @pages.get("/media/<media_id>/<variant>.jpg")
    def stored(media_id: str, variant: str) -> Response:
        small = variant == "small"
        if not _SHA256.fullmatch(media_id) or (variant not in SHOWABLE and not small):
            abort(404)
        found = [m for m in services.pictures.stored(media_id) if m.variant in (SHOWABLE if small else (variant,))]
        if not found:
            abort(404, say("This picture is not stored at headquarters."))
        content = _read(found[0])
        try:
            jpeg = blobs.thumbnail(content) if small else blobs.without_metadata(content)
        except MediaError as exc:
            abort(404, str(exc))
        response = Response(jpeg, mimetype="image/jpeg")
        response.cache_control.private = True
        response.cache_control.max_age = _CACHED_S
        response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
        return response

    @pages.get("/media/<media_id>/original")
    @access.coordinators_only
    def original(media_id: str) -> Response:
        found = [m for m in services.pictures.stored(media_id) if m.variant == Variant.ORIGINAL]
        if not found:
            abort(404, say("This picture is not stored at headquarters."))
        content = _read(found[0], bytes_max=_ORIGINAL_MAX_BYTES)
        response = Response(content, mimetype="application/octet-stream")
        response.headers.set("Content-Disposition", "attachment", filename=f"{media_id[:16]}{_suffix(content)}")
        return response

    def _read(media: Row[Any], *, bytes_max: int = blobs.SHOWN_MAX_BYTES) -> bytes:
        try:
            return services.blobs.read(media, bytes_max=bytes_max)
        except MediaError as exc:
            abort(404, str(exc))
        except TransientDelivery:
            abort(503, say("Blob Storage does not answer just now. Try again in a minute."))

    return pages


def _suffix(content: bytes) -> str:
    """What programs look for at the end of a name; cameras write pictures and videos."""
    if content.startswith(b"\xff\xd8"):
        return ".jpg"
    return ".mp4" if content[4:8] == b"ftyp" else ""


def _tab() -> Tab:
    try:
        return Tab(request.args.get("tab", Tab.ALL))
    except ValueError as exc:
        raise BadRequest(say("tab: there are %(tabs)s.", tabs=", ".join(Tab))) from exc


def _cursor() -> Cursor | None:
    text = request.args.get("before", "")
    try:
        return Cursor.parse(text) if text else None
    except ValueError as exc:
        raise BadRequest(say("before: is not a place in this list. Begin again from its first page.")) from exc


def _why_not_stored(record: Row[Any]) -> str:
    fate = Fate(record.fate)
    if fate is Fate.HUMAN or record.withheld:
        return say("There may be a person in it: such pictures never leave the gateway.")
    if fate is Fate.UNREADABLE:
        return say("The file could not be read, so there is no picture of it. The card has what there is.")
    if fate is Fate.DUPLICATE:
        return say("It has the same bytes as another file, under which it is stored.")
    if record.audit_probability is not None:
        return say("It was drawn for people to look at, and has not arrived yet.")
    if fate in KEPT_FATES:
        return say(
            "It has not arrived yet: the gateway keeps the original, and sends it when its link and budget allow."
        )
    return say(
        "The gateway judged it not to be worth the link. The card is the archive: ask for it before the card is wiped."
    )
