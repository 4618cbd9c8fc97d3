"""Gateways: when each was last heard, what it is doing, and which cards are safe to wipe."""

from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Blueprint, abort, render_template
from sqlalchemy import Row

from cloud_sync.web import gateway_words
from cloud_sync.web.services import Services
from cloud_sync.web.texts import say
from edge_module.domain import Fate


def is_silent(gateway: Row[Any], now: datetime, after: timedelta) -> bool:
    """Whether nothing has come from a gateway for longer than `after`."""
    heard_at: datetime = gateway.last_message_at or gateway.registered_at
    return heard_at < now - after


def blueprint(services: Services) -> Blueprint:
    """Pages about the fleet."""
    pages = Blueprint("gateways", __name__)
    after = services.settings.silent_after

    @pages.get("/gateways")
    def listing() -> str:
        now = datetime.now(UTC)
        gateways = [(row, is_silent(row, now, after)) for row in services.gateways.all()]
        return render_template("gateways.html", gateways=gateways)

    @pages.get("/gateways/<gateway_id>")
    def gateway(gateway_id: str) -> str:
        row = services.gateways.get(gateway_id) or abort(404, say("There is no such gateway."))
        pictures, pictures_bytes = services.gateways.pictures(gateway_id)
        return render_template(
            "gateway.html",
            gateway=row,
            measures=gateway_words.measures(row.measures or {}),
            silent=is_silent(row, datetime.now(UTC), after),
            receipts=services.gateways.receipts(gateway_id),
            not_recorded=services.gateways.not_recorded(gateway_id),
            pictures=pictures,
            pictures_bytes=pictures_bytes,
            alerts=services.gateways.alerts(gateway_id=gateway_id)[:10],
            fates=Fate,
            labels={d.key: d.label for d in services.deployments.all()},
        )

    return pages
