"""Cameras and their deployments: the list, and the form for coordinators."""

import re
from collections.abc import Mapping
from typing import Any, Final

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from cloud_sync import camtrap_dp, deployments
from cloud_sync.deployments import Deployment
from cloud_sync.web import access
from cloud_sync.web.formats import offset
from cloud_sync.web.services import Services
from cloud_sync.web.texts import say
from edge_module.errors import ConfigError

_TEXTS: Final = ("deploymentID", "locationName", "latitude", "longitude", "cameraID", "deploymentComments")
_OFFSET: Final = re.compile(r"[+-]\d\d:\d\d|Z")


def blueprint(services: Services) -> Blueprint:
    """Pages about deployments."""
    pages = Blueprint("cameras", __name__)
    settings = services.settings

    @pages.get("/cameras")
    def listing() -> str:
        return render_template(
            "cameras.html",
            deployments=services.deployments.all(),
            unassigned=services.pictures.unassigned(),
            to_tell=list(services.deployments.to_tell()),
            can_tell=services.teller is not None,
        )

    @pages.get("/cameras/new")
    @access.coordinators_only
    def new() -> str:
        given = {name: request.args.get(name, "") for name in ("cameraID", "card", "gateway")}
        return form({"offset": offset(settings.utc_offset_min), **given})

    @pages.post("/cameras/new")
    @access.coordinators_only
    def add() -> Response | tuple[str, int]:
        return save(None)

    @pages.get("/cameras/<key>/edit")
    @access.coordinators_only
    def edit(key: str) -> str:
        deployment = existing(key)
        return form(_as_form(deployment), deployment)

    @pages.post("/cameras/<key>/edit")
    @access.coordinators_only
    def change(key: str) -> Response | tuple[str, int]:
        return save(existing(key))

    @pages.post("/cameras/<key>/remove")
    @access.coordinators_only
    def remove(key: str) -> Response:
        deployment = existing(key)
        records = services.deployments.remove(key)
        _changed(services)
        flash(
            say(
                "%(camera)s is removed; %(count)s pictures have changed their place. None of them is lost.",
                camera=deployment.label,
                count=records,
            )
        )
        return redirect(url_for("cameras.listing"), 303)

    def existing(key: str) -> Deployment:
        return services.deployments.get(key) or abort(
            404, say("There is no such deployment; it may have been removed.")
        )

    def form(values: Mapping[str, str], deployment: Deployment | None = None, faults: list[str] | None = None) -> str:
        return render_template(
            "deployment.html",
            values=values,
            deployment=deployment,
            faults=_by_field(faults or []),
            gateways=[g.gateway_id for g in services.gateways.all()],
            box=settings.box,
        )

    def save(before: Deployment | None) -> Response | tuple[str, int]:
        values = request.form.to_dict()
        try:
            deployment = camtrap_dp.checked(_as_camtrap(values, before), settings.box)
            who = access.asking().account.name
            records = services.deployments.save([deployment], by=who, new=before is None)
        except ConfigError as exc:
            return form(values, before, exc.faults), 400
        _changed(services)
        flash(
            say(
                "%(camera)s is saved; %(count)s pictures have found their place.",
                camera=deployment.label,
                count=records,
            )
        )
        return redirect(url_for("pictures.camera", key=deployment.key), 303)

    return pages


def _changed(services: Services) -> None:
    if services.teller:
        services.teller.wake()


def _as_camtrap(values: Mapping[str, str], before: Deployment | None) -> dict[str, str]:
    """The form's fields -> Camtrap DP's columns; what the form does not show stays."""
    row: dict[str, str] = dict(before.details) if before else {}
    row |= {name: values.get(name, "") for name in _TEXTS}
    if before:
        row["deploymentID"] = before.deployment_id
    zone = values.get("offset", "").strip()
    for name in ("deploymentStart", "deploymentEnd"):
        local = values.get(name, "").strip()
        row[name] = f"{local}{zone if _OFFSET.fullmatch(zone) else ' no offset'}" if local else ""
    tags = [row.get("deploymentTags", "")]
    tags += [f"{name}:{values[name]}" for name in ("card", "gateway") if values.get(name, "").strip()]
    row["deploymentTags"] = "|".join(filter(None, tags))
    return row


def _as_form(deployment: Deployment) -> dict[str, str]:
    starts_at, ends_at = deployment.starts_at, deployment.ends_at
    zone = starts_at.tzinfo
    return {
        "deploymentID": deployment.deployment_id,
        "locationName": deployment.name,
        "latitude": repr(deployment.position.latitude_deg),
        "longitude": repr(deployment.position.longitude_deg),
        "deploymentStart": starts_at.strftime("%Y-%m-%dT%H:%M"),
        "deploymentEnd": ends_at.astimezone(zone).strftime("%Y-%m-%dT%H:%M") if ends_at else "",
        "offset": offset(deployments.offset_min(starts_at)),
        "cameraID": deployment.camera_id,
        "card": deployment.card_id,
        "gateway": deployment.gateway_id,
        "deploymentComments": deployment.details.get("deploymentComments", ""),
    }


def _by_field(faults: list[str]) -> dict[str, Any]:
    """Faults that begin with a field's name, by field; the others under the empty name."""
    found: dict[str, list[str]] = {}
    for fault in faults:
        name, colon, text = fault.partition(": ")
        field, says = (name, text) if colon and name.isidentifier() else ("", fault)
        found.setdefault(field, []).append(says)
    return found
