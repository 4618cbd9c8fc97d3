"""What `scan` and `classify` show: JSON lines for machines; a progress bar and a table for people."""

import json
import sys
from typing import Any, Never, TextIO

from tqdm import tqdm

from edge_module import as_json
from edge_module.domain import CardReceipt, Fate, ReadingState, Record

_MEANING = {
    Fate.PANDA: "a red panda",
    Fate.REVIEW: "a person should look",
    Fate.OTHER: "another animal",
    Fate.BLANK: "nothing but wind and leaves",
    Fate.HUMAN: "people",
    Fate.UNREADABLE: "damaged or not a picture",
    Fate.DUPLICATE: "the same bytes as another file",
    Fate.IGNORED: "not a picture or video",
}
_PATHS_SHOWN = 20


def line(record: Record) -> dict[str, Any]:
    """One file, as ``--json`` prints it."""
    captured = record.exif.captured
    return {
        "path": record.path,
        "media_id": record.media_id or None,
        "verdict": record.fate,
        "panda_probability": record.scores.panda if record.scores else None,
        "captured_at": captured.at.isoformat() if captured else None,
        "error": record.reason or None,
    }


class JsonReport:
    """A line a file, and the receipt last."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def listed(self, files: int) -> None:
        """Nothing: machines count for themselves."""

    def records(self, records: list[Record]) -> None:
        """Print each record."""
        self._out.writelines(json.dumps(line(record), ensure_ascii=False) + "\n" for record in records)
        self._out.flush()

    def receipt(self, receipt: CardReceipt) -> None:
        """Print the receipt."""
        print(json.dumps({"receipt": as_json.receipt_to_json(receipt)}, ensure_ascii=False), file=self._out, flush=True)


class TableReport:
    """A progress bar on a terminal, then what a technician wants to know."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._bar: tqdm[Never] | None = None
        self._worth_a_look: list[Record] = []
        self._worth_a_look_count = 0

    def listed(self, files: int) -> None:
        """Begin the bar; silent where nobody watches."""
        self._bar = tqdm(total=files, unit="file", file=sys.stderr, disable=None, smoothing=0.05)

    def records(self, records: list[Record]) -> None:
        """Advance the bar."""
        interesting = [r for r in records if r.fate in (Fate.PANDA, Fate.REVIEW)]
        self._worth_a_look_count += len(interesting)
        self._worth_a_look += interesting[: max(0, _PATHS_SHOWN - len(self._worth_a_look))]
        if self._bar is not None:
            self._bar.update(len(records))

    def receipt(self, receipt: CardReceipt) -> None:
        """Print the table."""
        if self._bar is not None:
            self._bar.close()
        say = self._say
        say(f"Card {receipt.card_id}, reading {receipt.reading_id}: {receipt.state}")
        say("")
        for fate in Fate:
            say(f"  {receipt.counts[fate]:>9,}  {fate:<11} {_MEANING[fate]}")
        if receipt.pending:
            say(f"  {receipt.pending:>9,}  {'pending':<11} not read yet")
        say(f"  {receipt.seen:>9,}  {'seen':<11}")
        self._say_files(receipt)
        say("")
        say("SAFE TO WIPE" if receipt.safe_to_wipe else "NOT SAFE TO WIPE:")
        for blocker in receipt.blockers:
            say(f"  - {_printable(blocker)}")
        if receipt.destroyed_by_wiping:
            say(f"Wiping destroys the only copy of {receipt.destroyed_by_wiping:,} files that are not kept.")
        if receipt.state is ReadingState.INTERRUPTED:
            say("Run the same command again to go on.")

    def _say_files(self, receipt: CardReceipt) -> None:
        if self._worth_a_look:
            self._say("\nWorth a look:")
            for r in self._worth_a_look:
                panda = f"{r.scores.panda:.2f}" if r.scores else "    "
                self._say(
                    f"  {r.fate:<7} {panda}  {_printable(r.path)}{'  ' + _printable(r.reason) if r.reason else ''}"
                )
            if more := self._worth_a_look_count - len(self._worth_a_look):
                self._say(f"  and {more:,} more")
        if receipt.named:
            self._say("\nWithout a verdict from the model:")
            for named in receipt.named[:_PATHS_SHOWN]:
                self._say(f"  {named.fate or 'pending':<10}  {_printable(named.path)}: {_printable(named.reason)}")
            more = len(receipt.named) - _PATHS_SHOWN + receipt.named_omitted
            if more > 0:
                self._say(f"  and {more:,} more; --json names them all")

    def _say(self, text: str) -> None:
        print(text, file=self._out)


def _printable(text: str) -> str:
    """A name from a card, without control characters that could rewrite the terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
