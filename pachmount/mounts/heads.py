"""Where the mounted commits stand on their branches: learned in the background and on demand, never in the way."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import NamedTuple

from pachmount.errors import ClusterUnreachableError, LoginRequiredError, NotFoundError, PachmountError
from pachmount.mounts import history
from pachmount.mounts.mount import Mount
from pachmount.pfs.client import PfsClient
from pachmount.pfs.model import RepoRef

log = logging.getLogger(__name__)

PARALLEL_LOOKS = 8


class Branch(NamedTuple):
    """A branch of a repo, as a key."""

    repo: RepoRef
    name: str

    @classmethod
    def of(cls, mount: Mount) -> Branch:
        """The branch of a mount; its name is empty if the mount has none."""
        source = mount.spec.source
        return cls(RepoRef(source.project, source.repo), source.branch)


class HeadWatch:
    """Looks at branch heads, once a branch for all its mounts. A look goes on after its caller gave up.

    `on_news` is told of each following mount that does not show the head of its branch.
    """

    def __init__(self, on_news: Callable[[Mount], None]) -> None:
        self._on_news = on_news
        self._pool = ThreadPoolExecutor(PARALLEL_LOOKS, thread_name_prefix="heads")
        self._lock = threading.Lock()
        self._looking: dict[Branch, Future[list[Mount]]] = {}

    def refresh(self, client: PfsClient, mounts: Iterable[Mount], max_age: float, patience: float) -> list[Mount]:
        """Look at the branches of mounts last looked at more than `max_age` s ago; wait `patience` s for answers.

        Returns the mounts whose repo the cluster says does not exist any more.
        """
        due: dict[Branch, list[Mount]] = {}
        for mount in mounts:
            branch = Branch.of(mount)
            if branch.name and time.monotonic() - mount.position.checked_at > max_age:
                due.setdefault(branch, []).append(mount)
        looks = []
        with self._lock:
            for branch, followers in due.items():
                look = self._looking.get(branch)
                if look is None:
                    look = self._looking[branch] = self._pool.submit(self._look_once, client, branch, followers)
                looks.append(look)
        done, _ = wait(looks, timeout=patience)
        return [mount for look in done for mount in look.result()]

    def _look_once(self, client: PfsClient, branch: Branch, mounts: list[Mount]) -> list[Mount]:
        try:
            return self.look(client, branch, mounts)
        finally:
            with self._lock:
                self._looking.pop(branch, None)

    def look(self, client: PfsClient, branch: Branch, mounts: list[Mount]) -> list[Mount]:
        """Learn the position of all mounts of one branch, now; those that lost their repo.

        A failure leaves what was known, and a note on the mounts.
        """
        try:
            head = client.inspect_branch(branch.repo, branch.name).head.id
        except NotFoundError:
            gone = _is_gone(client, branch.repo)
            what = f"repo {branch.repo}" if gone else f"branch '{branch.name}'"
            had_it = [mount for mount in mounts if gone or mount.spec.source.commit]  # or its first commit makes it
            _note(had_it, f"{what} does not exist any more")
            for mount in had_it:
                mount.lost_branch = not gone
            return mounts if gone else []
        except ClusterUnreachableError as error:
            log.debug("cannot look at %s@%s: %s", *branch, error)
            return []
        except LoginRequiredError:
            _note(mounts, "the login has ended")
            return []
        except PachmountError as error:
            _note(mounts, str(error))
            return []
        for mount in mounts:
            try:
                self._place(client, branch, mount, head)
            except PachmountError as error:
                log.debug("cannot count the commits of %s@%s: %s", *branch, error)
        return []

    def _place(self, client: PfsClient, branch: Branch, mount: Mount, head: str) -> None:
        spec, known = mount.spec, mount.position
        commit = spec.source.commit
        mount.lost_branch = False
        if not spec.follow or (head == commit and spec.complete):
            mount.note = ""
        if spec.follow and (head != commit or not spec.complete):
            self._on_news(mount)
        found = known
        if head != known.latest:
            whole = not spec.follow  # one that follows is behind for a moment only
            found = history.position(client, branch.repo, commit, head, known, whole=whole)
        found.checked_at = time.monotonic()
        if mount.spec.source.commit == commit:
            mount.position = found

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def _note(mounts: list[Mount], text: str) -> None:
    for mount in mounts:
        mount.note = text
        mount.position.checked_at = time.monotonic()


def _is_gone(client: PfsClient, repo: RepoRef) -> bool:
    try:
        client.inspect_repo(repo)
    except NotFoundError:
        return True
    except PachmountError as error:
        log.debug("cannot look at repo %s: %s", repo, error)
    return False
