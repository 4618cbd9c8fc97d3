"""Headquarters' settings: environment variables -> values, checked before anything starts. Pure."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from cloud_sync.geo import Box
from edge_module.domain import UTC_OFFSET_MAX_MIN
from edge_module.errors import ConfigError

UPLOAD_SAS_DAYS_MAX: Final = 7
"""A user-delegation key lasts no longer."""

HELP: Final = """\
environment:
  PONYA_DATABASE_URL               sqlite:////var/lib/ponya/hq.db or postgresql+psycopg://user:password@host/name
  IOTHUB_CONNECTION_STRING         IoT Hub, a policy with registry read, registry write and service connect
  EVENTHUB_CONNECTION_STRING       IoT Hub's built-in endpoint, with EntityPath
  EVENTHUB_CONSUMER_GROUP          default $Default
  STORAGE_CONNECTION_STRING        Blob Storage; or instead of it
  STORAGE_ACCOUNT_URL              https://<account>.blob.core.windows.net, signing in with the machine's Azure identity
  PONYA_CHECKPOINT_CONTAINER       where consumers share the partitions, default ponya-checkpoints
  PONYA_CONFIRM_INTERVAL_S         at most one confirmation a gateway in so many seconds, default 60
  PONYA_BALANCE_INTERVAL_S         how often consumers look for partitions, default 10; one that is silent for six
                                   times as long loses its partitions
  PONYA_BLOB_PATIENCE_S            how long a message may wait for its picture before an alert, default 3600
  PONYA_UPLOAD_SAS_DAYS            how long a gateway's upload credential lasts, at most 7, default 7
  PONYA_BUNDLE_KEY_FILE            headquarters' key pair for bundles, default hq.ponya-key

environment of the pages (`web`); IOTHUB_CONNECTION_STRING may be left out: then `deployments tell` tells the gateways
  PONYA_WEB_URL                    where people reach the pages, such as https://ponya.example.org, behind a proxy that
                                   encrypts; default http://HOST:PORT as given to `web`
  PONYA_WEB_PROXIES                how many proxies stand before the pages, default 0
  PONYA_WEB_KEY_FILE               the key that signs cookies, made at the first start, default hq.web-key
  PONYA_SESSION_HOURS              after how long one has to sign in again, default 12
  PONYA_SILENT_HOURS               after how long without a message a gateway counts as silent, default 26
  PONYA_SURVEY_BOX                 west,south,east,north in degrees, where cameras may stand, default 78,24,105,35
  PONYA_UTC_OFFSET_MIN             of the days in filters and of headquarters' own times, default 345 (Nepal)
  PONYA_MAP_STYLE_URL              a MapLibre style of one's own instead of the embedded map
  PONYA_MAP_ORIGINS                origins, with spaces between, that this style takes its tiles from
"""

_ORIGIN: Final = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """How to reach Blob Storage: one of the two is not empty."""

    connection_string: str = ""
    account_url: str = ""


class Environment:
    """Reads settings one by one and gathers what is wrong with them, so that all is said at once."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self.faults: list[str] = []

    def check(self) -> None:
        """Stop if anything was wrong.

        Raises:
            ConfigError: with one line for each.
        """
        if self.faults:
            raise ConfigError(self.faults)

    def text(self, name: str, default: str | None = None) -> str:
        """A text that may not be empty."""
        value = self._values.get(name, "").strip() or default
        if value is None:
            self.faults.append(f"{name}: is not set (`python -m cloud_sync --help` says what it is)")
            return ""
        return value

    def seconds(self, name: str, default: float, *, longest: float = 86_400.0) -> float:
        """A time in seconds."""
        return self._number(name, default, 0.05, longest)

    def connection_string(self, name: str, *needed: str) -> str:
        """A connection string with the parts `needed`. Its value is never repeated: it holds a key."""
        value = self.text(name)
        parts = dict(p.partition("=")[::2] for p in value.split(";") if p)
        faults = [part for part in needed if not parts.get(part)]
        if value and faults:
            self.faults.append(f"{name}: is not such a connection string, it lacks {', '.join(faults)}")
        return value

    def storage(self) -> Storage:
        """Blob Storage, by connection string or by the machine's identity."""
        if url := self._values.get("STORAGE_ACCOUNT_URL", "").strip():
            if not url.startswith("https://"):
                self.faults.append("STORAGE_ACCOUNT_URL: must begin with https://")
            return Storage(account_url=url)
        return Storage(connection_string=self.connection_string("STORAGE_CONNECTION_STRING", "AccountName"))

    def upload_sas_days(self) -> float:
        """How long an upload credential lasts."""
        return self._number("PONYA_UPLOAD_SAS_DAYS", UPLOAD_SAS_DAYS_MAX, 0.01, UPLOAD_SAS_DAYS_MAX)

    def hours(self, name: str, default: float) -> float:
        """A time in hours, a year at most."""
        return self._number(name, default, 0.01, 8784)

    def whole(self, name: str, default: int, least: int, most: int) -> int:
        """A whole number."""
        value = self._number(name, default, least, most)
        if value != (whole := int(value)):
            self.faults.append(f"{name}: must be a whole number")
        return whole

    def survey_box(self) -> Box:
        """The part of Earth where cameras may stand: by default, where red pandas live."""
        name, default = "PONYA_SURVEY_BOX", "78,24,105,35"
        try:
            west, south, east, north = (float(part) for part in self.text(name, default).split(","))
            return Box(west_deg=west, south_deg=south, east_deg=east, north_deg=north)
        except ValueError:
            self.faults.append(f"{name}: must be west,south,east,north in degrees, such as {default}")
            return Box(west_deg=-180, south_deg=-90, east_deg=180, north_deg=90)

    def origin(self, name: str, default: str) -> str:
        """Scheme, host and port, without a path."""
        value = self.text(name, default).rstrip("/")
        if not _ORIGIN.fullmatch(value):
            self.faults.append(f"{name}: must be like https://ponya.example.org, not {value[:80]!r}")
        return value

    def origins(self, name: str, style_url: str) -> tuple[str, ...]:
        """The origins that a map style needs: its own, and those named."""
        given = self._values.get(name, "").split()
        if style_url and not style_url.startswith("/"):
            given.append("/".join(style_url.split("/")[:3]))
        bad = [o for o in given if not _ORIGIN.fullmatch(o)]
        self.faults += [f"{name}: {o[:80]!r} is not like https://tiles.example.org" for o in bad]
        return tuple(dict.fromkeys(given))

    def path(self, name: str, default: str) -> Path:
        """A file."""
        return Path(self.text(name, default))

    def _number(self, name: str, default: float, least: float, most: float) -> float:
        text = self.text(name, str(default))
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            self.faults.append(f"{name}: must be a number from {least:g} to {most:g}, not {text[:40]!r}")
            return default
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """What the pages need. Holds secrets: never log it.

    Args:
        iothub: empty where the pages do not tell gateways of their deployments.
        map_style_url: empty for the embedded map.
    """

    database_url: str
    storage: Storage
    iothub: str
    url: str
    proxies: int
    key_file: Path
    session: timedelta
    silent_after: timedelta
    box: Box
    utc_offset_min: int
    map_style_url: str
    map_origins: tuple[str, ...]

    @property
    def encrypted(self) -> bool:
        """Whether people reach the pages by HTTPS."""
        return self.url.startswith("https://")

    @classmethod
    def read(cls, values: Mapping[str, str], *, host: str = "127.0.0.1", port: int = 8080) -> "WebSettings":
        """Read the environment.

        Raises:
            ConfigError: with one line for each setting that is missing or wrong.
        """
        env = Environment(values)
        style = values.get("PONYA_MAP_STYLE_URL", "").strip()
        iothub = ("IOTHUB_CONNECTION_STRING", "HostName", "SharedAccessKeyName", "SharedAccessKey")
        settings = cls(
            database_url=env.text("PONYA_DATABASE_URL"),
            storage=env.storage(),
            iothub=env.connection_string(*iothub) if values.get(iothub[0], "").strip() else "",
            url=env.origin("PONYA_WEB_URL", f"http://{host}:{port}"),
            proxies=env.whole("PONYA_WEB_PROXIES", 0, 0, 5),
            key_file=env.path("PONYA_WEB_KEY_FILE", "hq.web-key"),
            session=timedelta(hours=env.hours("PONYA_SESSION_HOURS", 12)),
            silent_after=timedelta(hours=env.hours("PONYA_SILENT_HOURS", 26)),
            box=env.survey_box(),
            utc_offset_min=env.whole("PONYA_UTC_OFFSET_MIN", 345, -UTC_OFFSET_MAX_MIN, UTC_OFFSET_MAX_MIN),
            map_style_url=style,
            map_origins=env.origins("PONYA_MAP_ORIGINS", style),
        )
        env.check()
        return settings


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestSettings:
    """What `ingest` needs. Holds secrets: never log it."""

    database_url: str
    iothub: str
    eventhub: str
    consumer_group: str
    storage: Storage
    checkpoint_container: str
    confirm_interval_s: float
    balance_interval_s: float
    blob_patience_s: float
    upload_sas_days: float

    @classmethod
    def read(cls, values: Mapping[str, str]) -> "IngestSettings":
        """Read the environment.

        Raises:
            ConfigError: with one line for each setting that is missing or wrong.
        """
        env = Environment(values)
        settings = cls(
            database_url=env.text("PONYA_DATABASE_URL"),
            iothub=env.connection_string(
                "IOTHUB_CONNECTION_STRING", "HostName", "SharedAccessKeyName", "SharedAccessKey"
            ),
            eventhub=env.connection_string(
                "EVENTHUB_CONNECTION_STRING", "Endpoint", "SharedAccessKeyName", "SharedAccessKey", "EntityPath"
            ),
            consumer_group=env.text("EVENTHUB_CONSUMER_GROUP", "$Default"),
            storage=env.storage(),
            checkpoint_container=env.text("PONYA_CHECKPOINT_CONTAINER", "ponya-checkpoints"),
            confirm_interval_s=env.seconds("PONYA_CONFIRM_INTERVAL_S", 60.0),
            balance_interval_s=env.seconds("PONYA_BALANCE_INTERVAL_S", 10.0),
            blob_patience_s=env.seconds("PONYA_BLOB_PATIENCE_S", 3600.0),
            upload_sas_days=env.upload_sas_days(),
        )
        env.check()
        return settings
