"""The server half of the JupyterLab extension: a thin, asynchronous client of the daemon's REST API, inside Jupyter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pachmount import __version__

try:
    import jupyter_server  # noqa: F401 (only to say what is missing)
except ImportError as error:
    raise ImportError("pachmount_lab works inside Jupyter, which is not here: pip install 'pachmount[lab]'") from error

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

__all__ = ["__version__"]


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """What Jupyter's server looks for: the module with the loader."""
    return [{"module": "pachmount_lab"}]


def _load_jupyter_server_extension(server_app: ServerApp) -> None:
    """Add our routes to a server of Jupyter's; nothing is started before the first of them is used."""
    from pachmount_lab.extension import load

    load(server_app)
