"""The program: `pachmount`, or `python -m pachmount`.

Shells wait for completion at every Tab, so it is answered before anything else is imported.
"""

from __future__ import annotations

import os
import sys

COMPLETION_VARIABLE = "_PACHMOUNT_COMPLETE"


def main() -> None:
    """Run the command line that `sys.argv` has, or complete it; never returns a traceback for a user's mistake."""
    if os.environ.get(COMPLETION_VARIABLE):
        from pachmount.cli.completing import complete

        complete(sys.argv[1:])
        return
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")  # we have none, and looking for them takes a while
    from pachmount.cli.main import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
