"""Where code finds a datum: in a mount namespace of its own, or in the mount directory that all share."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pachmount.running import place
from pachmount.running.command import User
from pachmount.running.messages import Order
from pachmount.running.place import OUT


class Stage(Protocol):
    """Shows datums to code. Raises OSError and PachmountError."""

    def shown(self, order: Order, out: Path, user: User) -> AbstractContextManager[Path]:
        """Show a datum, with output that is empty: where code finds that, for as long as the context lasts."""

    def collect(self, seen: Path, out: Path) -> None:
        """Bring what code has written to the directory for it, if it is not there."""


@dataclass(frozen=True)
class OwnNamespace:
    """`pfs` in a namespace of the datum's own; `hidden` has the commits."""

    pfs: Path
    hidden: Path

    @contextlib.contextmanager
    def shown(self, order: Order, out: Path, user: User) -> Iterator[Path]:
        with place.own_namespace():
            place.show(self.pfs, order.placed, out, self.hidden, user)
            yield self.pfs / OUT

    def collect(self, seen: Path, out: Path) -> None:
        """It is there: the one is a bind mount of the other."""


@dataclass(frozen=True)
class SharedDirectory:
    """The mount directory of a daemon that shows datums; for one datum at a time."""

    mount_dir: Path
    socket: Path

    @contextlib.contextmanager
    def shown(self, order: Order, out: Path, user: User) -> Iterator[Path]:  # noqa: ARG002 (a Stage's)
        from pachmount.client import DaemonClient

        with DaemonClient(self.socket) as client:
            client.show_datum(datum_id=order.datum)
        seen = self.mount_dir / OUT
        if user.uid is not None:
            os.chown(seen, user.uid, -1 if user.gid is None else user.gid)
        yield seen

    def collect(self, seen: Path, out: Path) -> None:
        shutil.copytree(seen, out, dirs_exist_ok=True)
