"""Kept originals are scored again with the model in force: each gets a further record (design, guarantee 2).

The frames of one event are scored together, as on their card, so far as they were kept. An original that cannot be read
or decoded any more is passed over.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby, islice

from edge_module.burst import BURST_FRAMES_MAX
from edge_module.errors import MediaError
from edge_module.frame import Frame, decode
from edge_module.ladder import Policy, wanted
from edge_module.ledger import Ledger
from edge_module.originals import Kept, Originals
from edge_module.scorer import Model, Scorer
from edge_module.settings import Settings
from edge_module.verdict import judge, withhold

_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Tally:
    """What came of it."""

    scored: int = 0
    changed: int = 0
    passed_over: int = 0


def reclassify(
    ledger: Ledger,
    originals: Originals,
    model: Model,
    settings: Settings,
    *,
    card_id: str | None,
    stop: threading.Event,
    rest: Callable[[], None] = lambda: None,
) -> Tally | None:
    """Score kept originals again.

    Args:
        ledger: gets a record of each.
        originals: what is kept.
        model: by which they are judged.
        settings: those in force.
        card_id: only what came from this card; everything if None.
        stop: set it to end before.
        rest: called between bursts: a processor that is hot needs it.

    Returns:
        What came of it; None if told to stop. Beginning again does not add a record twice.

    Raises:
        LedgerError: a record cannot be kept.
    """
    scorer, tally = Scorer(model), Tally()
    thresholds, policy = settings.thresholds(model.head.thresholds), Policy.of(settings)
    for burst in _bursts(originals, card_id):
        if stop.is_set():
            return None
        rest()
        frames: list[tuple[Kept, Frame]] = []
        for kept in burst:
            if kept.record.reason or kept.record.model_id == model.model_id:
                continue  # a film, or what this model has judged already
            try:
                frames.append((kept, decode(originals.read(kept.record.media_id, kept.record.path))))
            except MediaError as exc:
                _log.warning("%s", exc, extra={"media_id": kept.record.media_id})
                tally.passed_over += 1
        scores = scorer.score([frame for _, frame in frames]) if frames else []
        for (kept, _), score in zip(frames, scores, strict=True):
            fate, withheld = withhold(judge(score, thresholds), person=kept.record.stays_here)
            record = replace(
                kept.record, fate=fate, scores=score, model_id=model.model_id, withheld=withheld,
                audit_probability=None,
            )  # fmt: skip
            if ledger.rescored(record, kept.path, wanted(record, policy)):
                tally.scored += 1
                tally.changed += record.fate != kept.record.fate
    return tally


def _bursts(originals: Originals, card_id: str | None) -> Iterator[list[Kept]]:
    """The originals of one event, in the order of their paths, no more of them at once than memory allows."""
    # Only what orders them is held of all.
    order = [
        (_event(one), one.path, one.record.media_id)
        for one in originals.kept()
        if card_id in (None, one.record.card_id)
    ]
    order.sort()
    for _, group in groupby(order, key=lambda one: one[0]):
        while burst := [media_id for _, _, media_id in islice(group, BURST_FRAMES_MAX)]:
            yield [kept for media_id in burst for kept in originals.kept(media_id)]


def _event(kept: Kept) -> tuple[str, str]:
    return (kept.record.card_id, kept.record.event_id or kept.record.media_id)
