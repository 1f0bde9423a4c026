"""`scripts/bench NAME [OPTION]...`: run one measurement, or list them."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from pathlib import Path

_NAMES = sorted(one.name for one in pkgutil.iter_modules([str(Path(__file__).parent)]) if one.name[0] != "_")
_HELPERS = {"report"}


def main() -> int:
    names = [name for name in _NAMES if name not in _HELPERS and "_" not in name]
    if len(sys.argv) < 2 or sys.argv[1] not in names:
        print(f"usage: scripts/bench NAME [--help]   NAME: {', '.join(names)}", file=sys.stderr)
        return 2
    name = sys.argv.pop(1)
    sys.argv[0] = f"scripts/bench {name}"
    code: int = importlib.import_module(f"tests.bench.{name}").main()
    return code


if __name__ == "__main__":
    sys.exit(main())
