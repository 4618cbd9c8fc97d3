"""What every test shares: skips are counted aloud."""

import ast
import functools
import gc
import sys
from collections import Counter
from typing import Any


def pytest_configure() -> None:
    # Before 3.11.8, ast.parse raises SystemError when the collection of garbage within it ends in another ast.parse
    # (python/cpython#106905): an abandoned socket's ResourceWarning does, its traceback is formatted. It ended pytest.
    if sys.version_info < (3, 11, 8):
        ast.parse = _without_collection(ast.parse)


def _without_collection(parse: Any) -> Any:
    @functools.wraps(parse)
    def undisturbed(*args: Any, **kwargs: Any) -> Any:
        if not gc.isenabled():
            return parse(*args, **kwargs)
        gc.disable()
        try:
            return parse(*args, **kwargs)
        finally:
            gc.enable()

    return undisturbed


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reasons = Counter(
        report.longrepr[2].removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else "?"
        for report in terminalreporter.stats.get("skipped", [])
    )
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"NOT TESTED HERE: {count} tests: {reason}")
