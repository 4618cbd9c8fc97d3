"""What the demonstration raises on purpose."""

from edge_module.errors import PonyaError


class DemoError(PonyaError):
    """The demonstration cannot start or go on: one line that says what, where and what to do."""
