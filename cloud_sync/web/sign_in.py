"""Signing in and out, and the password."""

import logging
from typing import Final

from flask import Blueprint, flash, redirect, render_template, request, session, url_for
from flask_limiter import Limiter
from werkzeug.wrappers import Response

from cloud_sync import accounts
from cloud_sync.web import access, language
from cloud_sync.web.services import Services
from cloud_sync.web.texts import say

log = logging.getLogger(__name__)

ATTEMPTS_BY_ADDRESS: Final = "10 per minute; 100 per hour"
ATTEMPTS_BY_NAME: Final = "5 per minute; 30 per hour"
_NAME_MAX: Final = 200


def blueprint(services: Services, limiter: Limiter) -> Blueprint:
    """Attempts are counted by the address they come from and by the name they are for."""
    pages = Blueprint("sign_in", __name__)

    def given_name() -> str:
        return request.form.get("name", "").strip().lower()[:_NAME_MAX]

    @pages.get("/sign-in")
    def form() -> str:
        return render_template("sign_in.html", next=access.local_path(request.args.get("next")))

    @pages.post("/sign-in")
    @limiter.limit(ATTEMPTS_BY_ADDRESS)
    @limiter.limit(ATTEMPTS_BY_NAME, key_func=lambda: f"name:{given_name()}")
    def enter() -> Response | tuple[str, int]:
        back = access.local_path(request.form.get("next"))
        password = request.form.get("password", "")
        token = services.accounts.sign_in(given_name(), password, lasts=services.settings.session)
        if token is None:
            log.info("a sign-in from %s was refused", request.remote_addr)
            page = render_template(
                "sign_in.html",
                next=back,
                name=given_name(),
                fault=say("Name and password do not match. Please try again."),
            )
            return page, 401
        language.clear_session()
        session.permanent = True
        session[access.TOKEN] = token
        return redirect(back, 303)

    @pages.post("/sign-out")
    def leave() -> Response:
        services.accounts.sign_out(access.asking().token)
        language.clear_session()
        flash(say("You are signed out."))
        return redirect(url_for("sign_in.form"), 303)

    @pages.get("/password")
    def password() -> str:
        return render_template("password.html", least=accounts.PASSWORD_MIN)

    @pages.post("/password")
    @limiter.limit(ATTEMPTS_BY_NAME, key_func=lambda: f"name:{access.asking().account.name}")
    def change() -> Response | tuple[str, int]:
        who = access.asking()
        old, new = request.form.get("old", ""), request.form.get("new", "")
        fault = say(accounts.fault_of_password(new, name=who.account.name, old=old))
        if not fault and new != request.form.get("again", ""):
            fault = say("The two new passwords differ.")
        if not fault and not services.accounts.change_password(who.account.name, old=old, new=new, token=who.token):
            fault = say("The present password is not right.")
        if fault:
            return render_template("password.html", least=accounts.PASSWORD_MIN, fault=fault), 400
        flash(say("Your password is changed. You have been signed out everywhere else."))
        return redirect(url_for("map.page"), 303)

    return pages
