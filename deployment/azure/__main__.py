"""The command line: ``python -m deployment.azure 20 --prices prices.json``. Without prices: quantities only."""

import argparse
import json
import sys
from pathlib import Path

from deployment.azure.quantities import PRICES, Load, cost, lines, quantities


def main(argv: list[str] | None = None) -> int:
    """Print quantities, and costs where there are prices. Returns the exit status: 2 for prices that cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m deployment.azure",
        description="How much of Azure a number of cameras takes.",
        epilog="prices: a JSON object of numbers in one currency: "
        + "; ".join(f"{name}: {what}" for name, what in PRICES.items()),
    )
    parser.add_argument("cameras", type=int)
    parser.add_argument("--prices", type=Path, metavar="FILE")
    arguments = parser.parse_args(argv)
    if arguments.cameras < 1:
        parser.error("there must be a camera")
    found = quantities(Load(cameras=arguments.cameras))
    print("\n".join(lines(found)))
    if arguments.prices is None:
        return 0
    try:
        prices = {name: float(json.loads(arguments.prices.read_text())[name]) for name in PRICES}
    except (OSError, ValueError, TypeError, KeyError) as exc:
        print(f"error: {arguments.prices}: {exc!r}; it must give {', '.join(PRICES)}", file=sys.stderr)
        return 2
    items = cost(found, prices)
    print()
    print("\n".join(f"{name:<24} {value:>14,.2f}" for name, value in items.items()))
    print(f"{'a month, after a year':<24} {sum(items.values()):>14,.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
