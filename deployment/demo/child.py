"""``python -m deployment.demo.child PID MODULE ...`` is ``python -m MODULE ...`` that ends when process PID does."""

import runpy
import sys

from deployment.local.service import end_with_parent


def main() -> None:
    """Become the module."""
    _, parent_pid, module, *arguments = sys.argv
    end_with_parent(int(parent_pid))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
