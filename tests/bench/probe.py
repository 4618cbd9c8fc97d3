"""``python -m tests.bench.probe scan DIR ...``: edge_module's command line; says its peak memory last.

The kernel forgets VmHWM when a process ends, and `ru_maxrss` counts the parent it was forked from: so it is the process
itself that says it.
"""

import sys
from pathlib import Path

from edge_module.__main__ import main

if __name__ == "__main__":
    status = main()
    (peak_kib,) = (
        line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")
    )
    sys.stderr.write(f"peak_kib {peak_kib}\n")
    sys.exit(status)
