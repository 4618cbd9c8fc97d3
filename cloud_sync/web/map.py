"""The map, with its list beside it, and the same as GeoJSON."""

import gzip
import json
from datetime import UTC, datetime
from typing import Final

from flask import Blueprint, Response, render_template, request

from cloud_sync.web import access, filters, survey
from cloud_sync.web.filters import Filter
from cloud_sync.web.services import Services

_LISTED_MAX: Final = 30
_GZIP_FROM_BYTES: Final = 1_000


def blueprint(services: Services) -> Blueprint:
    """The first page."""
    pages = Blueprint("map", __name__)
    settings = services.settings

    def asked() -> Filter:
        return filters.read(request.args, utc_offset_min=settings.utc_offset_min)

    @pages.get("/")
    def page() -> str:
        wanted = asked()
        known = services.deployments.all()
        chosen = wanted.among(known)
        seen = services.map.seen(wanted.span, wanted.cameras)
        rows = services.map.sightings(wanted.span, wanted.cameras)
        unassigned = seen[None].pictures if None in seen else 0
        return render_template(
            "map.html",
            filter=wanted,
            known=known,
            cameras=survey.cameras(chosen, seen),
            sightings=survey.sightings(rows, known)[:_LISTED_MAX],
            unassigned=unassigned,
            anything=bool(seen) or not wanted.is_open,
            states=survey.State,
            now=datetime.now(UTC),
            box=settings.box,
            style_url=settings.map_style_url,
        )

    @pages.get("/api/v1/map.geojson")
    def geojson() -> Response:
        wanted = asked()
        known = services.deployments.all()
        seen = services.map.seen(wanted.span, wanted.cameras)
        rows = services.map.sightings(wanted.span, wanted.cameras)
        value = survey.geojson(
            survey.cameras(wanted.among(known), seen),
            survey.sightings(rows, known),
            role=access.role(),
            now=datetime.now(UTC),
        )
        return _compressed(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())

    return pages


def _compressed(content: bytes) -> Response:
    response = Response(content, mimetype="application/geo+json")
    response.vary.add("Accept-Encoding")
    if len(content) >= _GZIP_FROM_BYTES and request.accept_encodings["gzip"] > 0:
        response.set_data(gzip.compress(content, 6))
        response.content_encoding = "gzip"
    return response
