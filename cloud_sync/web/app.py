"""The web application, put together: `create_app`, and `run` for a process of its own."""

import logging
import os
import secrets
import signal
from datetime import timedelta
from pathlib import Path
from typing import Final

import waitress  # type: ignore[import-untyped] # ships no type hints
from flask import Flask
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_wtf import CSRFProtect  # type: ignore[import-untyped] # ships no type hints
from werkzeug.middleware.proxy_fix import ProxyFix

from cloud_sync import azure
from cloud_sync.accounts import Role
from cloud_sync.accounts_store import AccountsStore
from cloud_sync.database import connect
from cloud_sync.deployments_store import DeploymentsStore
from cloud_sync.deployments_telling import Teller
from cloud_sync.fleet import Fleet
from cloud_sync.migrate import require_current
from cloud_sync.settings import WebSettings
from cloud_sync.web import (
    access,
    alerts,
    cameras,
    errors,
    formats,
    gateways,
    language,
    pictures,
    probes,
    security,
    sign_in,
)
from cloud_sync.web import (
    map as map_page,
)
from cloud_sync.web.assets import Assets
from cloud_sync.web.blobs import Blobs
from cloud_sync.web.gateways_store import GatewaysStore
from cloud_sync.web.map_store import MapStore
from cloud_sync.web.pictures_store import PicturesStore
from cloud_sync.web.services import Services
from edge_module.errors import ConfigError

log = logging.getLogger(__name__)

_FORM_MAX_BYTES: Final = 64_000
_KEY_BYTES: Final = 32
_THREADS: Final = 8
_NO_UPLOADS: Final = timedelta(0)
"""The pages hand out no upload credentials."""

_LOOPBACK: Final = ("http://127.", "http://localhost", "http://[::1]")


def services_of(settings: WebSettings) -> Services:
    """Make the stores and clients; they connect at the first use.

    Raises:
        ConfigError: a setting cannot be used.
    """
    engine = connect(settings.database_url)
    deployments = DeploymentsStore(engine)
    fleet = (
        Fleet(azure.registry(settings.iothub), azure.storage(settings.storage), upload_sas=_NO_UPLOADS)
        if settings.iothub
        else None
    )
    return Services(
        engine=engine,
        settings=settings,
        accounts=AccountsStore(engine),
        deployments=deployments,
        gateways=GatewaysStore(engine),
        map=MapStore(engine),
        pictures=PicturesStore(engine),
        blobs=Blobs(azure.storage(settings.storage)),
        teller=Teller(deployments, fleet) if fleet else None,
    )


def create_app(services: Services, *, key: bytes) -> Flask:
    """Make the application.

    Args:
        services: what its pages work with.
        key: signs cookies; the same for every worker.
    """
    settings = services.settings
    app = Flask(__name__, static_folder=None)
    app.config |= {
        "SECRET_KEY": key,
        "SESSION_COOKIE_NAME": "__Host-ponya" if settings.encrypted else "ponya",
        "SESSION_COOKIE_SECURE": settings.encrypted,
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "SESSION_REFRESH_EACH_REQUEST": False,  # a cookie on every file would keep caches from serving any
        "PERMANENT_SESSION_LIFETIME": settings.session,
        "MAX_CONTENT_LENGTH": _FORM_MAX_BYTES,
        "WTF_CSRF_TIME_LIMIT": None,  # as long as the session: a form may stay open over lunch
    }
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    if settings.proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=settings.proxies, x_proto=settings.proxies)  # type: ignore[method-assign]
    assets = Assets()
    formats.register(app, utc_offset_min=settings.utc_offset_min)
    language.speak(app)
    app.jinja_env.globals.update(asset=assets.url, current=access.current, Role=Role)
    security.protect(app, map_origins=settings.map_origins, encrypted=settings.encrypted)
    access.guard(app, services.accounts)
    CSRFProtect(app)
    # Attempts are counted in memory: right for the one process that `web` is.
    limiter = Limiter(get_remote_address, app=app, storage_uri="memory://", strategy="moving-window")
    errors.handle(app)
    app.register_blueprint(assets.blueprint())
    app.register_blueprint(sign_in.blueprint(services, limiter))
    app.register_blueprint(language.blueprint())
    for page in (probes, map_page, pictures, cameras, gateways, alerts):
        app.register_blueprint(page.blueprint(services))
    return app


def run(settings: WebSettings, *, host: str, port: int) -> None:
    """Serve until the process is told to end.

    Raises:
        ConfigError: a setting cannot be used, or the database has another form.
        StoreUnavailableError: the database is away at start.
        OSError: the port is taken.
    """
    services = services_of(settings)
    require_current(services.engine)
    app = create_app(services, key=cookie_key(settings.key_file))
    if not settings.encrypted and not settings.url.startswith(_LOOPBACK):
        log.warning("passwords travel unencrypted to %s: put a proxy with HTTPS before it", settings.url)
    server = waitress.create_server(app, host=host, port=port, threads=_THREADS, ident=None)
    if services.teller:
        services.teller.start()
    signal.signal(signal.SIGTERM, _end)
    log.info("headquarters' pages are at %s", settings.url)
    try:
        server.run()
    finally:
        server.close()
        if services.teller:
            services.teller.stop()
        services.engine.dispose()


def _end(_number: int, _frame: object) -> None:
    raise SystemExit(0)


def cookie_key(path: Path) -> bytes:
    """The key that signs cookies; made where there is none, for its owner's eyes only.

    Raises:
        ConfigError: the file holds something else.
    """
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(_KEY_BYTES))
    except FileExistsError:
        pass
    key = path.read_bytes()
    if len(key) != _KEY_BYTES:
        raise ConfigError([f"{path}: is no key of {_KEY_BYTES} bytes; remove it, and everybody signs in again"])
    return key
