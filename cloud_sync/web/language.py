"""Templates that speak the language of whoever is asking, and the choice of it."""

from flask import Blueprint, Flask, abort, redirect, request, session
from werkzeug.wrappers import Response

from cloud_sync.web import access, gateway_words, texts
from cloud_sync.web.texts import CHOSEN, LANGUAGES, say


def speak(app: Flask) -> None:
    """Make templates speak the language of each request."""
    app.jinja_env.add_extension("jinja2.ext.i18n")
    app.jinja_env.install_gettext_callables(texts.translate, texts.translate_plural, newstyle=True)  # type: ignore[attr-defined] # the extension's
    app.jinja_env.filters |= {"word": texts.word, "alert": gateway_words.alert}
    app.jinja_env.globals.update(language=texts.language, LANGUAGES=LANGUAGES, map_texts=map_texts)


def map_texts() -> dict[str, str]:
    """What the map's script says."""
    return {
        "noMap": say("The map cannot be drawn here (it needs WebGL); the list has everything."),
        "canvas": say("Map of cameras; the list beside it has the same"),
        "row": say("{pictures} pictures, {panda} panda, {review} to review"),
    }


def clear_session() -> None:
    """Forget who was signed in, but not which language they read."""
    kept = {CHOSEN: session[CHOSEN]} if CHOSEN in session else {}
    session.clear()
    session.update(kept)


def blueprint() -> Blueprint:
    """Choosing."""
    pages = Blueprint("language", __name__)

    @pages.post("/language")
    def choose() -> Response:
        chosen = request.form.get("language", "")
        if chosen not in LANGUAGES:
            abort(400, say("These pages do not speak that language."))
        session[CHOSEN] = chosen
        session.permanent = True
        return redirect(access.local_path(request.form.get("back")), 303)

    return pages
