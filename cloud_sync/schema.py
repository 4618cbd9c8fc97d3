"""The tables of headquarters' record. Statements on them stand in store.py, their history in migrations/.

Keys that a sender chooses freely (a path may be 16,384 characters) are kept out of indexes: such rows are known by the
SHA-256 of their key, because PostgreSQL refuses an index entry of more than about 2,700 bytes.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    false,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

ID_MAX: Final = 200
"""Characters of an identifier that stands in an index: ledger, card, reading, model."""


class Instant(TypeDecorator[datetime]):
    """An aware time, kept in UTC. SQLite has no zones: there it is written without one and read back as UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Write in UTC."""
        del dialect
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Read as UTC."""
        del dialect
        return None if value is None else value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class MessageState(StrEnum):
    """What headquarters made of a numbered message."""

    RECORDED = "recorded"
    PARKED = "parked"
    """Not understood, kept aside, confirmed as parked."""
    WAITING = "waiting"
    """It speaks of a blob that is not there (yet): not confirmed."""


metadata = MetaData()


def _id(name: str, **kwargs: Any) -> Column[str]:
    return Column(name, String(ID_MAX), **kwargs)


def _instant(name: str, **kwargs: Any) -> Column[datetime]:
    return Column(name, Instant, **kwargs)


gateways = Table(
    "gateways",
    metadata,
    _id("gateway_id", primary_key=True),
    _instant("registered_at", nullable=False),
    _instant("last_message_at"),
    Column("bundle_verify_key", String(64)),
)

ledgers = Table(
    "ledgers",
    metadata,
    _id("gateway_id", primary_key=True),
    _id("ledger_id", primary_key=True),
    Column("ordinal", Integer, nullable=False),
    _instant("first_seen_at", nullable=False),
    Column("through", BigInteger, nullable=False),
)

messages = Table(
    "messages",
    metadata,
    _id("gateway_id", primary_key=True),
    _id("ledger_id", primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", String(32), nullable=False),
    Column("state", String(16), nullable=False),
    Column("body_sha256", LargeBinary(32), nullable=False),
    _instant("received_at", nullable=False),
    Index("messages_not_recorded", "gateway_id", "ledger_id", "state"),
)

_PANDA: Final = text("fate = 'panda'")

records = Table(
    "records",
    metadata,
    Column("record_key", LargeBinary(32), primary_key=True),
    _id("gateway_id", nullable=False),
    _id("ledger_id", nullable=False),
    Column("sequence", BigInteger, nullable=False),
    _id("card_id", nullable=False),
    _id("reading_id", nullable=False),
    Column("path", Text, nullable=False),
    Column("media_id", String(64), nullable=False),
    _id("model_id", nullable=False),
    _id("event_id", nullable=False),
    Column("fate", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("panda_probability", Float),
    Column("probabilities", JSON(none_as_null=True)),
    Column("night", Boolean),
    Column("view", String(16)),
    # Left, top, right, bottom in fractions of the frame; null: all of it.
    Column("box", JSON(none_as_null=True)),
    Column("withheld", Boolean, nullable=False, server_default=false()),
    # With which probability a discard was drawn for people to look at; null: it was not.
    Column("audit_probability", Float),
    _instant("captured_at"),
    Column("exif_time", String(19)),
    Column("utc_offset_min", Integer),
    Column("offset_source", String(16)),
    Column("camera_make", Text),
    Column("camera_model", Text),
    _id("camera_serial"),
    # Derived from `deployments`, again whenever one changes; null: of no deployment that is known.
    Column("deployment_key", String(16)),
    Index("records_media_id", "media_id"),
    Index("records_captured", "camera_serial", "captured_at"),
    Index("records_reading", "gateway_id", "card_id", "reading_id"),
    Index("records_deployment_fate", "deployment_key", "fate", "captured_at"),
    Index("records_deployment_time", "deployment_key", "captured_at", "record_key"),
    Index("records_sightings", "captured_at", postgresql_where=_PANDA, sqlite_where=_PANDA),
)

media = Table(
    "media",
    metadata,
    Column("media_id", String(64), primary_key=True),
    Column("variant", String(32), primary_key=True),
    _id("gateway_id", primary_key=True),
    _id("ledger_id", nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("container", String(63), nullable=False),
    Column("blob_name", String(1024), nullable=False),
    Column("blob_sha256", String(64), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    _instant("verified_at", nullable=False),
)

receipts = Table(
    "receipts",
    metadata,
    _id("gateway_id", primary_key=True),
    _id("card_id", primary_key=True),
    _id("reading_id", primary_key=True),
    _id("ledger_id", nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),
    Column("seen", BigInteger, nullable=False),
    Column("pending", BigInteger, nullable=False),
    Column("safe_to_wipe", Boolean, nullable=False),
    Column("receipt", JSON, nullable=False),
    # The deployment that people at headquarters have decided on, as the gateway says (`assignCard`).
    Column("assigned_key", String(16)),
    _instant("received_at", nullable=False),
)

status = Table(
    "status",
    metadata,
    _id("gateway_id", primary_key=True),
    _id("ledger_id", nullable=False),
    Column("sequence", BigInteger, nullable=False),
    _instant("at", nullable=False),
    Column("measures", JSON, nullable=False),
    _instant("received_at", nullable=False),
)

alerts = Table(
    "alerts",
    metadata,
    Column("alert_key", LargeBinary(32), primary_key=True),
    _id("gateway_id", nullable=False),
    Column("source", String(16), nullable=False),
    Column("code", String(64), nullable=False),
    Column("text", Text, nullable=False),
    _instant("at", nullable=False),
    _instant("received_at", nullable=False),
    Index("alerts_received", "received_at"),
)

held_bodies = Table(
    "held_bodies",
    metadata,
    Column("held_key", LargeBinary(32), primary_key=True),
    _id("gateway_id", nullable=False),
    _id("ledger_id"),
    Column("sequence", BigInteger),
    Column("body_sha256", LargeBinary(32), nullable=False),
    Column("code", String(64), nullable=False),
    Column("reason", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    _instant("received_at", nullable=False),
    Index("held_bodies_message", "gateway_id", "ledger_id", "sequence"),
)

tombstones = Table(
    "tombstones",
    metadata,
    _id("gateway_id", primary_key=True),
    _id("ledger_id", primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("buried_kind", String(64), nullable=False),
    Column("reason", Text, nullable=False),
    Column("media_ids", JSON, nullable=False),
)

positions = Table(
    "positions",
    metadata,
    Column("consumer_group", String(128), primary_key=True),
    Column("partition_id", String(32), primary_key=True),
    Column("offset", String(64), nullable=False),
    Column("sequence_number", BigInteger, nullable=False),
)

deployments = Table(
    "deployments",
    metadata,
    Column("deployment_key", String(16), primary_key=True),
    _id("deployment_id", nullable=False),
    _id("name", nullable=False),
    Column("latitude_deg", Float, nullable=False),
    Column("longitude_deg", Float, nullable=False),
    _instant("starts_at", nullable=False),
    Column("starts_offset_min", Integer, nullable=False),
    _instant("ends_at"),
    Column("ends_offset_min", Integer),
    _id("camera_id", nullable=False),
    _id("card_id", nullable=False),
    _id("gateway_id", nullable=False),
    Column("details", JSON, nullable=False),
    _instant("changed_at", nullable=False),
    Column("changed_by", String(64), nullable=False),
    Index("deployments_camera", "camera_id", "starts_at"),
    Index("deployments_card", "card_id", "starts_at"),
)

deployments_told = Table(
    "deployments_told",
    metadata,
    _id("gateway_id", primary_key=True),
    Column("told_sha256", LargeBinary(32), nullable=False),
    _instant("told_at", nullable=False),
)

accounts = Table(
    "accounts",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("role", String(16), nullable=False),
    Column("password_hash", Text, nullable=False),
    Column("must_change", Boolean, nullable=False),
    _instant("created_at", nullable=False),
)

web_sessions = Table(
    "web_sessions",
    metadata,
    Column("token_sha256", LargeBinary(32), primary_key=True),
    Column("name", String(64), nullable=False),
    _instant("expires_at", nullable=False),
)
