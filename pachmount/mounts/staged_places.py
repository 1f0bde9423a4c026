"""Where changes are staged: a directory for the name of each read-write mount, opened, tidied and told apart here."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from pachmount.documents import DamagedError, parse_json, parsed
from pachmount.errors import BusyError, CannotMountError, ClusterUnreachableError, DataError, PachmountError
from pachmount.mounts.cluster import Cluster
from pachmount.mounts.mount import MountSpec
from pachmount.overlay.kept import LOST_DIRECTORY, NAMES_FILE, is_removable, kept, repair_hint
from pachmount.overlay.staged_work import CLUSTER_NOTE
from pachmount.overlay.staging import Staging
from pachmount.overlay.standing import BASE_NOTE
from pachmount.paths import make_dirs

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StagedPlaces:
    """All of them, below `directory`."""

    cluster: Cluster
    directory: Path
    _held: set[str] = field(default_factory=set)

    @contextmanager
    def hold(self, name: str) -> Iterator[None]:
        """Keep a name that is not mounted from being mounted for writing. BusyError if somebody else holds it."""
        if name in self._held:
            raise _busy(name)
        self._held.add(name)
        try:
            yield
        finally:
            self._held.discard(name)

    def open(self, spec: MountSpec) -> tuple[MountSpec, Staging]:
        """The store of a mount, and the mount on the commit that the changes in it were made on.

        CannotMountError if there are changes to another source, or of another cluster.
        """
        place = self.of(spec.name)
        if spec.name in self._held:
            raise _busy(spec.name)
        try:
            if is_removable(place):
                _remove(place)
            make_dirs(place.parent)
            store = Staging(place)
        except OSError as error:
            why = f"changes cannot be staged in '{place}': {error.strerror or error}"
            raise CannotMountError(f"cannot mount '{spec.name}' for writing", why) from error
        try:
            self._require_cluster(store, spec.name)
            noted = store.about(BASE_NOTE)
            if not noted:
                store.note(BASE_NOTE, json.dumps(spec.to_dict()))
                return spec, store
            known = _known(noted, spec.name)
            if _identity(known) != _identity(spec):
                why = f"there are staged changes to {known.source} under that name"
                hint = f"{way_out(spec.name)}; or give this mount another name"
                raise CannotMountError(f"cannot mount '{spec.name}' for writing", why, hint)
        except BaseException:
            store.close()
            raise
        spec = replace(spec, source=known.source, time=known.time, complete=known.complete, pinned=known.pinned)
        return spec, store

    def of(self, name: str) -> Path:
        """Where the changes of a mount are staged."""
        return self.directory / name

    def has_changes(self, name: str) -> bool:
        """Whether changes are staged under a name that is not mounted; what cannot be read counts as changes."""
        return kept(self.of(name)) is not None

    def clear(self, name: str) -> None:
        """Give up what is staged under a name that is not mounted, but for `lost+found`. Raises DataError."""
        _remove(self.of(name))

    def tidy(self, name: str) -> None:
        """Free the room of a name that is not mounted for writing, if nothing is staged under it."""
        place = self.of(name)
        try:
            if is_removable(place):
                _remove(place)
        except (OSError, PachmountError) as error:
            log.warning("%s stays: %s", place, error)

    def tidy_all(self, mounted: Collection[str]) -> None:
        """The same for all names but those."""
        with suppress(FileNotFoundError):
            for name in sorted(set(os.listdir(self.directory)) - set(mounted)):
                self.tidy(name)

    def _require_cluster(self, store: Staging, name: str) -> None:
        """A commit means nothing on another cluster. While it does not answer, the one in use is taken for the same."""
        try:
            current = self.cluster.cluster_id()
        except ClusterUnreachableError:
            return
        known = store.about(CLUSTER_NOTE)
        if known and known != current:
            why = "there are staged changes under that name, which were made on another cluster"
            hint = f"{way_out(name)}; or give this mount another name"
            raise CannotMountError(f"cannot mount '{name}' for writing", why, hint)
        if not known:
            store.note(CLUSTER_NOTE, current)


def way_out(name: str) -> str:
    """A hint that helps whatever became of a mount, its repo, its commit and its cluster."""
    export, discard = f"pachmount staged export {name} {name}-staged", f"pachmount staged discard {name} --yes"
    return f"'{export}' saves the changes, '{discard}' gives them up"


def _busy(name: str) -> BusyError:
    why = "they are being committed or given up"
    return BusyError(f"the staged changes under the name '{name}' are in use", why, "try again")


def _known(noted: str, name: str) -> MountSpec:
    """The mount that a store was made for. Raises DataError."""
    try:
        return parsed(MountSpec.from_dict, parse_json(noted.encode(errors="surrogatepass")))
    except DamagedError as error:
        why = f"what is staged under that name is damaged: its note on the commit cannot be used ({error})"
        raise DataError(f"cannot mount '{name}' for writing", why, repair_hint(name)) from error


def _remove(place: Path) -> None:
    """Remove a store; `lost+found` stays, if there is one."""
    try:
        if not (place / LOST_DIRECTORY).exists():
            if place.exists():
                shutil.rmtree(place)
            return
        for name in [*sorted(set(os.listdir(place)) - {LOST_DIRECTORY, NAMES_FILE}), NAMES_FILE]:
            path = place / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"cannot remove what is staged in '{place}'", error.strerror or str(error)) from error


def _identity(spec: MountSpec) -> tuple[object, ...]:
    return spec.source.project, spec.source.repo, spec.source.branch, spec.paths
