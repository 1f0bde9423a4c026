"""Where the mounted commits stand on their branches: learned in the background and on demand, never in the way."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, wait

from pachmount.errors import NotFoundError, PachmountError
from pachmount.mounts.mount import BranchPosition, Mount
from pachmount.pfs.client import PfsClient
from pachmount.pfs.model import RepoRef

log = logging.getLogger(__name__)

HISTORY_LIMIT = 1000
"""Commits looked at to count how far a mount is behind."""
PARALLEL_LOOKS = 8


class HeadWatch:
    """Looks at branch heads. One look a mount at a time; a look that takes long goes on after its caller gave up."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(PARALLEL_LOOKS, thread_name_prefix="heads")
        self._lock = threading.Lock()
        self._looking: set[str] = set()

    def refresh(self, client: PfsClient, mounts: Iterable[Mount], max_age: float, patience: float) -> list[Mount]:
        """Look at the branches of mounts last looked at more than `max_age` s ago; wait `patience` s for answers.

        Returns the mounts whose repo the cluster says does not exist any more.
        """
        due = [m for m in mounts if m.spec.source.branch and time.monotonic() - m.position.checked_at > max_age]
        with self._lock:
            due = [mount for mount in due if mount.spec.name not in self._looking]
            self._looking.update(mount.spec.name for mount in due)
        looks = {self._pool.submit(self._look_once, client, mount): mount for mount in due}
        done, _ = wait(looks, timeout=patience)
        return [looks[look] for look in done if look.result()]

    def _look_once(self, client: PfsClient, mount: Mount) -> bool:
        try:
            return self._look(client, mount)
        finally:
            with self._lock:
                self._looking.discard(mount.spec.name)

    def _look(self, client: PfsClient, mount: Mount) -> bool:
        """Update `mount.position`; True if its repo is gone. Any other failure leaves what was known."""
        source = mount.spec.source
        repo = RepoRef(source.project, source.repo)
        try:
            head = client.inspect_branch(repo, source.branch).head.id
            known = mount.position
            if head == known.latest:
                position = BranchPosition(head, known.behind, known.total)
            else:
                position = _position(client, repo, source.commit, head)
            position.checked_at = time.monotonic()
            if mount.spec.source.commit == source.commit:
                mount.position = position
        except NotFoundError:
            mount.position.branch_exists = False
            mount.position.checked_at = time.monotonic()
            return _is_gone(client, repo)
        except PachmountError as error:
            log.debug("cannot look at branch %s: %s", source, error)
        return False

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def _position(client: PfsClient, repo: RepoRef, commit: str, head: str) -> BranchPosition:
    history = [info.commit.id for info in client.list_commits(repo, to=head, number=HISTORY_LIMIT)]
    behind = history.index(commit) if commit in history else len(history)
    return BranchPosition(head, behind, len(history) if len(history) < HISTORY_LIMIT else None)


def _is_gone(client: PfsClient, repo: RepoRef) -> bool:
    try:
        client.inspect_repo(repo)
    except NotFoundError:
        return True
    except PachmountError as error:
        log.debug("cannot look at repo %s: %s", repo, error)
    return False
