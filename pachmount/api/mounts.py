"""The routes that list, make, move and remove mounts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path

from pachmount.api import answers, schema
from pachmount.api.decode import decode_body
from pachmount.api.handlers import Handler
from pachmount.errors import ClusterUnreachableError, NotPermittedError, PachmountError, UsageError
from pachmount.mounts.committing import CommitWish
from pachmount.mounts.resolve import Resolved, check_commit_form
from pachmount.mounts.wishes import Wish
from pachmount.names import DEFAULT_PROJECT, Source, check_mount_name, normalize_path, parse_source


class MountsAnswering(Handler):
    """The base of the routes that answer with all mounts and, as `unmounted`, all repos."""

    async def pass_gates(self) -> None:
        """What the original asks before anything else; our own clients can change mounts without a login."""
        if not self.is_own_client:
            await self.look(self.require_login)

    def mounts(self, changed: Collection[str] | None = None) -> schema.MountsAnswer:
        """Where branches stand is looked up now, within a second; what does not answer in time is told from memory.

        After a change only the mounts that were `changed` are looked at.
        """
        self.require_login()
        manager, cluster = self.services.manager, self.services.cluster
        manager.look_at_heads(max_age=0, names=changed, unmount_deleted=True)
        return schema.MountsAnswer(
            mounted=[answers.mount(mount) for mount in manager.mounts()],
            unmounted=[answers.repo(info) for info in cluster.repos()],
        )

    def mounts_after(self, changed: Collection[str]) -> schema.MountsAnswer:
        """The answer to a change that is made. Our own clients get the mounts from memory: no list of repos that they
        throw away, no error because the cluster cannot tell them now.
        """
        if self.compatible and not self.is_own_client:
            return self.mounts(changed)
        return schema.MountsAnswer(
            mounted=[answers.mount(mount) for mount in self.services.manager.mounts()], unmounted=[]
        )


class MountsHandler(MountsAnswering):
    """GET /mounts: all mounts and all repos."""

    async def get(self) -> None:
        self.answer(await self.watch(self.mounts))


class MountHandler(MountsAnswering):
    """PUT /_mount: check all entries, then mount one after the other."""

    async def put(self) -> None:
        await self.pass_gates()
        self.services.manager.refuse_in_datum_mode("can't mount repos while in mounted datum mode")
        request = decode_body(self.request.body, schema.MountRequest)
        self.answer(await self.work(lambda: self._mount(request)))

    def _mount(self, request: schema.MountRequest) -> schema.MountsAnswer:
        self.require_login()
        planned = [self._plan(entry) for entry in request.mounts]
        steps = [(wish.name, partial(self.services.manager.mount, wish, resolved)) for wish, resolved in planned]
        return self.mounts_after(_one_by_one(steps, "mounted"))

    def _plan(self, entry: schema.MountEntry | None) -> tuple[Wish, Resolved]:
        if entry is None:
            raise UsageError("mount request is null", "each entry of 'mounts' is an object")
        if not self.is_own_client:
            entry.commit = "" if entry.mode == "rw" else entry.commit  # the original drops it
        elif not entry.project:
            entry.project = self.services.cluster.default_project
        try:
            wish = _wish(entry)
            return wish, self.services.manager.resolve(wish)
        except (NotPermittedError, ClusterUnreachableError):
            raise  # not the request's fault
        except PachmountError as error:
            if self.is_own_client:
                raise
            told = error.__cause__ if isinstance(error.__cause__, PachmountError) else error  # the server's own words
            raise UsageError(f"mount request {_go_text(entry)}: {told.what}", error.why, error.hint) from error


def _one_by_one(steps: Iterable[tuple[str, Callable[[], object]]], what: str) -> list[str]:
    """Take steps, each for a mount; their names. An error of a later one tells what was done before it."""
    done: list[str] = []
    for name, step in steps:
        try:
            step()
        except PachmountError as error:
            if done:
                error.why = "; ".join(filter(None, [error.why, f"{what} before that: {', '.join(done)}"]))
            raise
        done.append(name)
    return done


def _wish(entry: schema.MountEntry) -> Wish:
    """The checks of the original that need no cluster; a commit may also be an ancestry such as `master^`."""
    if not entry.name:
        raise UsageError("no name specified", "a mount needs a name")
    entry.project = entry.project or DEFAULT_PROJECT
    if not entry.repo:
        raise UsageError("no repo specified", "a mount needs a repo")
    entry.mode = entry.mode or "ro"
    if entry.mode not in ("ro", "rw"):
        raise UsageError("mount mode can only be 'ro' or 'rw'")
    if entry.commit and not any(sign in entry.commit for sign in "^~."):
        check_commit_form(entry.commit)
    if not entry.commit:
        entry.branch = entry.branch or "master"
    check_mount_name(entry.name)
    if "\0" in entry.mountpoint:
        raise UsageError("invalid mountpoint", "a path has no NUL")
    wanted = [*entry.files, *entry.paths, *([entry.path] if entry.path else [])]
    return Wish(
        name=entry.name,
        source=Source(entry.project, entry.repo, entry.branch, entry.commit),
        paths=tuple(normalize_path(path) for path in wanted),
        mode=entry.mode,
        mountpoint=Path(entry.mountpoint) if entry.mountpoint else None,
        follow=entry.follow,
    )


def _go_text(entry: schema.MountEntry) -> str:
    """The entry as the original prints it in errors."""
    files = " ".join([*entry.files, *entry.paths, *([entry.path] if entry.path else [])])
    return (
        f"&{{Name:{entry.name} Project:{entry.project} Repo:{entry.repo} Branch:{entry.branch} "
        f"Commit:{entry.commit} Files:[{files}] Mode:{entry.mode}}}"
    )


class UnmountHandler(MountsAnswering):
    """PUT /_unmount: by name (or mount point), one after the other."""

    async def put(self) -> None:
        await self.pass_gates()
        self.services.manager.refuse_in_datum_mode("can't unmount repos while in mounted datum mode")
        request = decode_body(self.request.body, schema.UnmountRequest)
        self.answer(await self.upload(lambda: self._unmount(request)))

    def _unmount(self, request: schema.UnmountRequest) -> schema.MountsAnswer:
        manager = self.services.manager
        for name in request.mounts if self.is_own_client else ():
            manager.get(name)  # the original looks for each only when its turn comes
        wish = CommitWish(request.message)
        _one_by_one(
            [(name, partial(manager.unmount, name, request.staged, wish)) for name in request.mounts], "unmounted"
        )
        return self.mounts_after(())


class UnmountAllHandler(MountsAnswering):
    """PUT /_unmount_all: end all mounts; what is staged is committed."""

    async def put(self) -> None:
        await self.pass_gates()
        self.answer(await self.upload(self._unmount_all))

    def _unmount_all(self) -> schema.MountsAnswer:
        self.services.manager.unmount_all()
        return self.mounts_after(())


class CommitHandler(MountsAnswering):
    """PUT /_commit: commit what is staged; nothing to do for a read-only mount, as in the original."""

    async def put(self) -> None:
        await self.pass_gates()
        request = decode_body(self.request.body, schema.CommitRequest)
        self.answer(await self.upload(lambda: self._commit(request)))

    def _commit(self, request: schema.CommitRequest) -> schema.MountsAnswer:
        manager = self.services.manager
        name = request.mount
        try:
            name = manager.get(name).spec.name
        except PachmountError as error:
            if not request.to:
                error.what, error.why = "bad request: can't commit when unmounted", error.what
                raise
        wish = CommitWish(
            request.message,
            request.branch,
            request.allow_open,
            request.skip_invalid,
            request.ours,
            tuple(normalize_path(path) or "/" for path in request.theirs),
        )
        if request.to:
            made = manager.staged.commit_to(name, parse_source(request.to, self.default_project), wish)
        else:
            made = manager.staged.commit(name, wish)
        if not self.is_own_client:
            return self.mounts()
        answer = schema.CommittedAnswer(mounted=[], unmounted=[])
        if made is not None:
            answer.commit, answer.changes = made.info.commit.id, made.changes
            answer.still_staged = made.is_staged_still
        return answer


class DiffHandler(Handler):
    """PUT /_diff (ours): what a commit of a mount would change."""

    compatible = False

    async def put(self) -> None:
        request = decode_body(self.request.body, schema.DiffRequest)
        self.answer(await self.work(lambda: self._difference(request)))

    def _difference(self, request: schema.DiffRequest) -> schema.DiffAnswer:
        paths = [normalize_path(path) or "/" for path in request.paths]
        manager = self.services.manager
        if not request.patch:
            found, why = manager.staged.difference(request.mount, paths)
            answer = answers.difference(found)
            answer.without_commit = why
            return answer
        return answers.difference(*manager.staged.patch(request.mount, paths))


class DiscardHandler(MountsAnswering):
    """PUT /_discard (ours): give up staged changes."""

    compatible = False

    async def put(self) -> None:
        request = decode_body(self.request.body, schema.DiscardRequest)
        self.answer(await self.work(lambda: self._discard(request)))

    def _discard(self, request: schema.DiscardRequest) -> schema.MountsAnswer:
        paths = [normalize_path(path) or "/" for path in request.paths]
        self.services.manager.staged.discard(request.mount, paths)
        return self.mounts_after([request.mount])


class StagedHandler(Handler):
    """GET /staged (ours): changes that are staged, mounted or not."""

    compatible = False

    async def get(self) -> None:
        self.answer(await self.look(lambda: schema.StagedAnswer(staged=self._entries())))

    def _entries(self) -> list[schema.StagedEntry]:
        return [
            schema.StagedEntry(**asdict(look), mounted=mode, commit_state=state)  # type: ignore[arg-type]
            for look, mode, state in self.services.manager.staged.entries()
        ]


class DiscardStagedHandler(Handler):
    """PUT /staged/_discard (ours): give up all that is staged under a name; it answers as /staged."""

    compatible = False

    async def put(self) -> None:
        request = decode_body(self.request.body, schema.DiscardStagedRequest)
        self.answer(await self.work(lambda: self._discard(request)))

    def _discard(self, request: schema.DiscardStagedRequest) -> schema.StagedAnswer:
        staged = self.services.manager.staged
        staged.discard(request.name)
        return schema.StagedAnswer(staged=[schema.StagedEntry(**asdict(look)) for look, _, _ in staged.entries()])


class RefreshHandler(MountsAnswering):
    """PUT /_refresh (ours): move mounts to the newest commit, or to a named one."""

    compatible = False

    async def put(self) -> None:
        request = decode_body(self.request.body, schema.RefreshRequest)
        self.answer(await self.work(lambda: self._refresh(request.mounts)))

    def _refresh(self, entries: list[schema.RefreshEntry]) -> schema.MountsAnswer:
        steps = [(entry.name, self.services.manager.plan_refresh(entry.name, entry.commit)) for entry in entries]
        return self.mounts_after(_one_by_one(steps, "moved"))


class RemountHandler(MountsAnswering):
    """PUT /_remount (ours): make mounts read-only or read-write."""

    compatible = False

    async def put(self) -> None:
        request = decode_body(self.request.body, schema.RemountRequest)
        self.answer(await self.work(lambda: self._remount(request)))

    def _remount(self, request: schema.RemountRequest) -> schema.MountsAnswer:
        manager = self.services.manager
        names = [manager.get(name).spec.name for name in request.mounts]
        steps = [(name, partial(manager.remount, name, request.mode)) for name in names]
        return self.mounts_after(_one_by_one(steps, "changed"))


class FollowHandler(MountsAnswering):
    """PUT /_follow (ours): let mounts move along with their branches, or stay where they are."""

    compatible = False

    async def put(self) -> None:
        request = decode_body(self.request.body, schema.FollowRequest)
        self.answer(await self.work(lambda: self._follow(request)))

    def _follow(self, request: schema.FollowRequest) -> schema.MountsAnswer:
        plan = self.services.manager.plan_follow
        steps = [(name, plan(name, on=request.follow)) for name in request.mounts]
        return self.mounts_after(_one_by_one(steps, "changed"))
