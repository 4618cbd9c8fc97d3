"""``/healthz`` and ``/readyz``, for whatever watches the process."""

from flask import Blueprint, Response, jsonify

from cloud_sync.migrate import require_current
from cloud_sync.web.services import Services
from edge_module.errors import PonyaError


def blueprint(services: Services) -> Blueprint:
    """Open to all; they tell nothing of what is recorded."""
    pages = Blueprint("probes", __name__)

    @pages.get("/healthz")
    def healthz() -> Response:
        return jsonify(status="ok")

    @pages.get("/readyz")
    def readyz() -> tuple[Response, int]:
        try:
            require_current(services.engine)
        except PonyaError:
            return jsonify(status="the database is away, or of another form"), 503
        return jsonify(status="ok"), 200

    return pages
