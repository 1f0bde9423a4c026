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
from pachmount.mounts.restoring import Losses
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
    """Looks at branch heads, once a branch for all its mounts, and whether the commits of mounts still exist. A look
    goes on after its caller gave up.

    `on_news` is told of each following mount that does not show the head of its branch; `find_loss` tells why the
    commit of a mount is gone, `on_return` is told when it is there again.
    """

    def __init__(self, on_news: Callable[[Mount], None], find_loss: Losses, on_return: Callable[[Mount], None]) -> None:
        self._on_news = on_news
        self._find_loss = find_loss
        self._on_return = on_return
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
            if time.monotonic() - mount.position.checked_at > max_age:
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
        """Learn the position of all mounts of one branch ("" = of none), now; those that lost their repo.

        A failure leaves what was known, and a note on the mounts.
        """
        if not branch.name:
            for mount in mounts:
                mount.position.checked_at = time.monotonic()
                self._check(mount)
            return []
        try:
            head = client.inspect_branch(branch.repo, branch.name).head.id
        except NotFoundError:
            gone = _is_gone(client, branch.repo)
            what = f"repo {branch.repo}" if gone else f"branch '{branch.name}'"
            had_it = [mount for mount in mounts if gone or mount.spec.source.commit]  # or its first commit makes it
            _note(had_it, f"{what} does not exist any more")
            for mount in had_it:
                mount.lost_branch = not gone
            for mount in mounts:
                self._check(mount)
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
                if head == mount.spec.source.commit:
                    self._exists(mount)
                else:
                    self._check(mount)
            except PachmountError as error:
                log.debug("cannot count the commits of %s@%s: %s", *branch, error)
        return []

    def _place(self, client: PfsClient, branch: Branch, mount: Mount, head: str) -> None:
        spec, known = mount.spec, mount.position
        commit = spec.source.commit
        mount.lost_branch = False
        is_shown = head == commit and spec.complete
        if is_shown:
            mount.note = ""
        found = known
        if head != known.latest or not known.is_settled:
            whole = not spec.follow  # one that follows is behind for a moment only
            found = history.position(client, branch.repo, commit, head, known, whole=whole)
        found.checked_at = time.monotonic()
        if mount.spec.source.commit == commit:
            mount.position = found
        if not is_shown and not spec.follow:
            mount.note = found.note if found.newest == commit and spec.complete else ""
        if not is_shown and spec.follow and (found.newest != commit or not found.is_settled or not mount.note):
            self._on_news(mount)  # else what is passed over stays as it is, and was told

    def _check(self, mount: Mount) -> None:
        """Notice that a mount's commit is gone, or is there again. While that is not known all stays as it was."""
        spec = mount.spec
        try:
            loss = self._find_loss(spec)
        except PachmountError as error:
            log.debug("cannot look at commit %s: %s", spec.source, error)
            return
        if mount.spec.source != spec.source:
            return
        if loss is None:
            self._exists(mount)
        elif mount.gone is None or mount.gone.why != loss.why:
            log.warning("mount %s: %s", spec.name, loss)
            mount.gone = loss

    def _exists(self, mount: Mount) -> None:
        if mount.gone is not None:
            log.info("the commit of mount %s is there again", mount.spec.name)
            mount.gone = None
            self._on_return(mount)

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
