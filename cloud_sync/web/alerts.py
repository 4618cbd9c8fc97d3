"""What somebody should look at: silent gateways, alerts, and messages that were set aside."""

from datetime import UTC, datetime

from flask import Blueprint, render_template, request
from werkzeug.exceptions import BadRequest

from cloud_sync.web.gateways import is_silent
from cloud_sync.web.gateways_store import PAGE
from cloud_sync.web.services import Services
from cloud_sync.web.texts import say


def blueprint(services: Services) -> Blueprint:
    """One page."""
    pages = Blueprint("alerts", __name__)

    @pages.get("/alerts")
    def page() -> str:
        now = datetime.now(UTC)
        before = _before()
        alerts = services.gateways.alerts(before=before)
        silent = [g for g in services.gateways.all() if is_silent(g, now, services.settings.silent_after)]
        return render_template(
            "alerts.html",
            silent=[] if before else silent,
            alerts=alerts[:PAGE],
            older=alerts[PAGE - 1].received_at if len(alerts) > PAGE else None,
            set_aside=[] if before else services.gateways.set_aside(),
            first=before is None,
        )

    return pages


def _before() -> datetime | None:
    text = request.args.get("before", "")
    if not text:
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        raise BadRequest(say("before: is not a time. Begin again from the first page.")) from exc
