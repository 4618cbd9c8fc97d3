"""Static files, held in memory, compressed once, under names that contain the hash of their contents.

All of one build share the hash, so that modules may name each other by relative paths; a changed build has new
addresses, and the old ones may be kept for ever.
"""

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from flask import Blueprint, Response, abort, request

_FOLDER: Final = Path(__file__).parent / "static"
_TYPES: Final = {".mjs": "text/javascript", ".js": "text/javascript", ".json": "application/json", ".txt": "text/plain"}
_A_YEAR_S: Final = 31_536_000
_WORTH: Final = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """A file as it is sent."""

    content: bytes
    gzipped: bytes | None
    mimetype: str


class Assets:
    """Every static file below a folder."""

    def __init__(self, folder: Path = _FOLDER) -> None:
        self._assets: dict[str, Asset] = {}
        digest = hashlib.sha256()
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            name, content = path.relative_to(folder).as_posix(), path.read_bytes()
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
            self._assets[name] = _asset(path, content)
        self.version = digest.hexdigest()[:12]

    def url(self, name: str) -> str:
        """The address of a file, as templates write it.

        Raises:
            KeyError: there is no such file: a mistake in a template.
        """
        if name not in self._assets:
            raise KeyError(name)
        return f"/static/{self.version}/{name}"

    def blueprint(self) -> Blueprint:
        """Serves the files to everybody."""
        blueprint = Blueprint("assets", __name__)

        @blueprint.get("/static/<version>/<path:name>")
        def asset(version: str, name: str) -> Response:
            found = self._assets.get(name) if version == self.version else None
            if found is None:
                abort(404)
            return _response(found)

        @blueprint.get("/favicon.ico")
        def favicon() -> Response:
            return _response(self._assets["icon.svg"])

        return blueprint


def _asset(path: Path, content: bytes) -> Asset:
    mimetype = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    gzipped = gzip.compress(content, 9, mtime=0)
    return Asset(content=content, gzipped=gzipped if len(gzipped) < _WORTH * len(content) else None, mimetype=mimetype)


def _response(asset: Asset) -> Response:
    wants_gzip = asset.gzipped is not None and request.accept_encodings["gzip"] > 0
    response = Response(asset.gzipped if wants_gzip else asset.content, mimetype=asset.mimetype)
    response.cache_control.public = True
    response.cache_control.max_age = _A_YEAR_S
    response.cache_control.immutable = True
    if asset.gzipped is not None:
        response.vary.add("Accept-Encoding")
    if wants_gzip:
        response.content_encoding = "gzip"
    return response
