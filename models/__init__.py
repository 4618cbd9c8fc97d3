"""Building, training and evaluating the model."""

from pathlib import Path

BUILD_DIR = Path(__file__).resolve().parent.parent / "build"
"""What is made on the way: never committed."""
