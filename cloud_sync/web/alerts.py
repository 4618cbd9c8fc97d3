"""What somebody should look at: silent gateways, alerts, and messages that were set aside."""

from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, render_template, request
from sqlalchemy import Row
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
            older=_place(alerts[PAGE - 1]) if len(alerts) > PAGE else None,
            set_aside=[] if before else services.gateways.set_aside(),
            first=before is None,
        )

    return pages


def _place(alert: Row[Any]) -> str:
    return f"{alert.received_at.isoformat()}~{bytes(alert.alert_key).hex()}"


def _before() -> tuple[datetime, bytes] | None:
    """The alert to go on from, as `_place` wrote it."""
    text = request.args.get("before", "")
    if not text:
        return None
    at, _, key = text.partition("~")
    try:
        return datetime.fromisoformat(at).astimezone(UTC), bytes.fromhex(key)
    except (ValueError, OverflowError) as exc:
        raise BadRequest(say("before: is not a place in this list. Begin again from its first page.")) from exc
