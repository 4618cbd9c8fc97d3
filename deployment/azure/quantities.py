"""How much of Azure a number of cameras takes, and what it costs at given prices. Pure.

Sources: IoT Hub's metering (messages, twin operations and methods in pieces of 4 KB, 400,000 pieces a day and S1 unit),
this project's own measurements (README, "What is measured"), and 55,000 pictures of 20 cameras in 60 days.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final

PIECE_BYTES: Final = 4096
PIECES_A_DAY: Final = 400_000
DAYS: Final = 30.4
PRICES: Final = {
    "hub_unit_month": "one S1 unit of IoT Hub, a month",
    "storage_gb_month": "a GB of hot blob storage, a month",
    "writes_10000": "10,000 write operations on blobs",
    "reads_10000": "10,000 read operations on blobs",
    "egress_gb": "a GB that leaves the region",
    "dps_1000": "1,000 operations of the Device Provisioning Service",
    "log_gb": "a GB of diagnostics taken in",
}
"""What prices are asked for, in one currency."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What the cameras bring."""

    cameras: int
    cameras_a_gateway: int = 20
    frames_a_camera_day: float = 55_000 / 20 / 60
    panda_share: float = 0.005
    review_share: float = 0.02
    audit_share: float = 0.005
    days_between_cards: float = 60
    originals_share_of_panda: float = 0.05
    bytes_a_discarded_frame: int = 45
    batch_frames: int = 500
    crop_bytes: int = 20_000
    frame_bytes: int = 400_000
    original_bytes: int = 4_000_000
    thumbnail_bytes: int = 5_000
    looks_a_picture: float = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantities:
    """A month in the cloud; storage after a year."""

    gateways: int
    frames_month: float
    messages_month: float
    pieces_day: float
    hub_units: int
    uploads_month: float
    upload_gb_month: float
    storage_gb_after_a_year: float
    reads_month: float
    egress_gb_month: float


def quantities(load: Load) -> Quantities:
    """What a load comes to."""
    gateways = math.ceil(load.cameras / load.cameras_a_gateway)
    frames = load.cameras * load.frames_a_camera_day
    panda, review = frames * load.panda_share, frames * load.review_share
    discarded = frames - panda - review
    batches = discarded / load.batch_frames
    pieces_a_batch = math.ceil(load.batch_frames * load.bytes_a_discarded_frame / PIECE_BYTES)
    receipts = 4 * load.cameras / load.days_between_cards  # while reading, complete, safe
    pictures = {
        load.crop_bytes: panda + review,
        load.frame_bytes: panda,
        load.original_bytes: panda * load.originals_share_of_panda,
        load.thumbnail_bytes: discarded * load.audit_share,
    }
    uploads = sum(pictures.values())
    readable = panda + review + uploads + receipts + 24 * gateways  # one status an hour
    # Each batch of what arrives is confirmed in the twin: written by headquarters, read by the gateway.
    twin = 2 * min(readable + batches, 1440 * gateways) + 10 * gateways
    pieces = readable + batches * pieces_a_batch + twin
    upload_gb = sum(size * count for size, count in pictures.items()) / 1e9 * DAYS
    return Quantities(
        gateways=gateways,
        frames_month=frames * DAYS,
        messages_month=(readable + batches) * DAYS,
        pieces_day=pieces,
        hub_units=max(1, math.ceil(pieces / PIECES_A_DAY)),
        uploads_month=uploads * DAYS,
        upload_gb_month=upload_gb,
        storage_gb_after_a_year=12 * upload_gb,
        reads_month=uploads * DAYS * (1 + load.looks_a_picture),
        egress_gb_month=upload_gb * load.looks_a_picture,
    )


def cost(found: Quantities, prices: Mapping[str, float]) -> dict[str, float]:
    """What a month costs at the end of the first year, by item, in the currency of the prices.

    Raises:
        KeyError: a price is missing.
    """
    return {
        "IoT Hub": found.hub_units * prices["hub_unit_month"],
        "storage": found.storage_gb_after_a_year * prices["storage_gb_month"],
        "blob operations": found.uploads_month / 1e4 * prices["writes_10000"]
        + found.reads_month / 1e4 * prices["reads_10000"],
        "egress": found.egress_gb_month * prices["egress_gb"],
        "provisioning": found.gateways / 1e3 * prices["dps_1000"],
        "diagnostics": 0.01 * found.gateways * prices["log_gb"],
    }


def lines(found: Quantities) -> list[str]:
    """The quantities, for people."""
    return [f"{one.name:<24} {getattr(found, one.name):>14,.1f}" for one in fields(found)]
