"""pachmount: versioned Pachyderm data as files, for people, scripts and notebooks."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pachmount.reading import open as open  # noqa: A004

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`pachmount.open`, whose module every command line would have to import otherwise."""
    if name == "open":
        from pachmount import reading

        return reading.open
    raise AttributeError(f"module 'pachmount' has no attribute {name!r}")
