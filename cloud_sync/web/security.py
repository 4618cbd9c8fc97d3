"""What a browser is told about every answer: the content security policy and its companions."""

from collections.abc import Sequence
from typing import Final

from flask import Flask, Response

_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # flask-wtf compares it where the connection is encrypted
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_HSTS: Final = "max-age=31536000; includeSubDomains"


def policy(map_origins: Sequence[str]) -> str:
    """The content security policy: nothing inline, nothing evaluated, nothing from elsewhere.

    Args:
        map_origins: where an organisation's own map style and tiles come from.
    """
    more = "".join(f" {origin}" for origin in map_origins)
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "worker-src 'self'",
            "style-src 'self'",
            f"img-src 'self' data: blob:{more}",  # data: icons of Bootstrap and MapLibre; blob: tiles, once decoded
            f"connect-src 'self'{more}",
            "font-src 'self'",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        )
    )


def protect(app: Flask, *, map_origins: Sequence[str], encrypted: bool) -> None:
    """Put the headers on every answer; pages are kept in nobody's cache.

    Args:
        app: to be protected.
        map_origins: see `policy`.
        encrypted: people reach the pages by HTTPS alone.
    """
    csp = policy(map_origins)

    @app.after_request
    def _headers(response: Response) -> Response:
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        response.headers.setdefault("Content-Security-Policy", csp)
        if encrypted:
            response.headers["Strict-Transport-Security"] = _HSTS
        if "Cache-Control" not in response.headers:
            response.headers["Cache-Control"] = "no-store"
        return response
