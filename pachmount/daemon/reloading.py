"""Reading the settings again while the daemon runs: what can change takes effect, the rest is named."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from pachmount.api import schema
from pachmount.settings import Settings

log = logging.getLogger(__name__)


class Reloader:
    """`load` reads the settings as at the start, flags included; `live` puts a setting of that name into effect."""

    def __init__(
        self, settings: Settings, load: Callable[[], Settings], live: Mapping[str, Callable[[Settings], None]]
    ) -> None:
        self._in_force = settings
        self._load = load
        self._live = live
        self._lock = threading.Lock()

    def reload(self) -> schema.ReloadAnswer:
        """Put what changed into effect, as far as that goes. Raises ConfigurationError, and then nothing is changed."""
        with self._lock:
            new = self._load()
            changes = [name for name in Settings.model_fields if getattr(new, name) != getattr(self._in_force, name)]
            told = [self._told(name, new) for name in changes]
            for name in changes:
                if name in self._live:
                    self._live[name](new)
                    log.info("%s is %s now", name, getattr(new, name))
            taken = {name: getattr(new, name) for name in changes if name in self._live}
            self._in_force = self._in_force.model_copy(update=taken)
        return schema.ReloadAnswer(changes=told)

    def _told(self, name: str, new: Settings) -> schema.SettingChange:
        return schema.SettingChange(
            name=name,
            before=_json(getattr(self._in_force, name)),
            now=_json(getattr(new, name)),
            needs_restart=name not in self._live,
        )


def _json(value: Any) -> str | float | int | bool | None:
    return value if isinstance(value, str | float | int | bool | None) else str(value)
