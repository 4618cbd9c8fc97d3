"""``python -m tests.bench``: what a frame costs, in ratios that hold on any machine. See tests/bench/__main__.py."""
