"""What is put into the gateway's cards folder: the demo card, or a folder of somebody's own pictures."""

from pathlib import Path

from deployment.demo.errors import DemoError
from edge_module.card import Mount
from edge_module.errors import CardError


def checked(given: str, state: Path) -> Path:
    """A folder of pictures that can be shown.

    Args:
        given: as it was given.
        state: the demonstration's own folder, which changes all the time.

    Raises:
        DemoError: there is no such folder, nothing is in it, or it cannot be read.
    """
    folder = Path(given).expanduser()
    try:
        empty = next(Mount(folder).files(), None) is None
    except CardError as exc:
        raise DemoError(f"card {exc}") from exc
    if empty:
        raise DemoError(f"card {folder}: no file is in it; name a folder of pictures")
    folder = folder.resolve()
    if state.is_relative_to(folder) or folder.is_relative_to(state):
        raise DemoError(f"card {folder}: {state}, where the demonstration works, must not overlap with it")
    return folder


def insert(card: Path, cards: Path, name: str) -> None:
    """Let a card appear whole: one that was written beside the cards folder moves in, any other is linked to."""
    if card.parent == cards.parent:
        card.rename(cards / name)
    else:
        (cards / name).symlink_to(card)
