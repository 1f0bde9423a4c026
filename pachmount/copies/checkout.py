"""A directory that holds the files of a commit, and is moved to another commit by what differs.

Everything is compared before anything is changed, and local changes are never lost without `force`. It may be
interrupted at any time: the next run goes on (see state.py).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pachmount.beneath import Beneath, Spot
from pachmount.cache.disk import DiskBlocks
from pachmount.copies import part, workers
from pachmount.copies.disk import Seen, explained, look, require_room
from pachmount.copies.links import Links
from pachmount.copies.part import Job
from pachmount.copies.plan import Plan, in_the_way, is_folding, make_plan, refused, without_own
from pachmount.copies.state import STATE, Checkout, Journal, Kept, Loaded, load, locked, set_aside
from pachmount.errors import ConfigurationError, ConflictError, InvalidPathError, NotFoundError, UsageError
from pachmount.names import Source, parse_source
from pachmount.reading import FileInfo, Snapshot

SHOWN = 10

Show = Callable[[str, int, int, int, int], None]
"""Told what is done, and of how many files and bytes: done, all, done, all."""


@dataclass(frozen=True)
class CheckedOut:
    """What a directory holds and what was done for it; `copied_files` are equal to others that were there;
    `shared_bytes` of what was fetched take no room beside the cache. `left_out` are files of this program that the
    commit has, `notes` what else should be told.
    """

    directory: str
    source: str
    commit: str
    files: int
    bytes: int
    fetched_files: int
    fetched_bytes: int
    copied_files: int
    removed_files: int
    shared_bytes: int
    left_out: list[str]
    notes: list[str]


def followed(directory: Path) -> Source:
    """What the checkout in a directory follows: its branch, or the commit that was asked for. NotFoundError."""
    with explained(directory):
        if directory.is_dir():
            with Beneath(directory) as top:
                loaded = load(top)
            if loaded is not None:
                return parse_source(loaded.checkout.source)
    hint = f"pachmount checkout SOURCE {directory}"
    raise NotFoundError(f"'{directory}' is no checkout", f"there is no {STATE} in it", hint)


def follows(snapshot: Snapshot, asked: str) -> Source:
    """What a checkout of a snapshot follows that was opened as `asked`: the branch, or the commit that was named."""
    given = parse_source(asked)
    is_pinned = given.commit or (given.branch and given.branch != snapshot.source.branch)
    return snapshot.source if is_pinned else snapshot.source.at("")


def check_out(
    snapshot: Snapshot,
    source: Source,
    directory: Path,
    *,
    force: bool,
    show: Show,
    cache: DiskBlocks | None = None,
) -> CheckedOut:
    """Make a directory hold the files of a snapshot; `source` is what it follows from now on.

    With `force`, files that were changed are replaced. What is fetched shares its room on the disk with `cache`, if
    that is given. Raises UsageError for a directory that is used otherwise, or cannot share, InvalidPathError for names
    that the disk cannot store, ConflictError for changes that would be lost, and what daemon and disk may raise.
    """
    with explained(directory):
        links = Links(cache, directory) if cache is not None else None
        is_made = not directory.exists()
        directory.mkdir(parents=True, exist_ok=True)
        try:
            with locked(directory), Beneath(directory) as top:
                loaded = _prepared(source, top, force=force)
                work = _Work(snapshot, loaded, str(source), force, show, links)
                try:
                    return work.run()
                except BaseException:
                    if loaded.is_new and not work.is_begun:
                        loaded.checkout.forget()
                    raise
        except BaseException:
            if is_made:
                with suppress(OSError):  # something is in it
                    directory.rmdir()
            raise


def _prepared(source: Source, top: Beneath, *, force: bool) -> Loaded:
    directory, damage = top.directory, ""
    try:
        loaded = load(top)
    except ConfigurationError as error:
        if not force:
            raise
        names = ", ".join(set_aside(top, first_only=False))
        loaded, damage = None, f"{error.what} ({error.why}): it is now {names or 'gone'}"
    if loaded is None:
        if os.listdir(directory) and not force:
            hint = "name a directory that is new or empty, or add --force: other files in it stay"
            raise UsageError(f"cannot check out into '{directory}'", "it is not empty", hint)
        checkout = Checkout(top, str(source))
        checkout.save()
        return Loaded(checkout, damage, is_new=True)
    before = parse_source(loaded.checkout.source)
    if (before.project, before.repo, before.path) != (source.project, source.repo, source.path):
        raise UsageError(
            f"cannot check out {source} into '{directory}'", f"it is a checkout of {before}", "name another"
        )
    if loaded.damage:
        names = ", ".join(set_aside(top, first_only=True))
        now = f"; it is now {names}" if names else ""
        return Loaded(
            loaded.checkout, f"the state of '{directory}' was damaged, its copy is used: {loaded.damage}{now}"
        )
    return loaded


class _Work:
    """One run."""

    def __init__(
        self, snapshot: Snapshot, loaded: Loaded, source: str, force: bool, show: Show, links: Links | None
    ) -> None:
        self._snapshot = snapshot
        self._checkout = loaded.checkout
        self._notes = [loaded.damage] if loaded.damage else []
        self._source = source
        self._top = loaded.checkout.top
        self._directory = self._top.directory
        self._force = force
        self._show = show
        self._links = links
        self._fetched: list[int] = []
        self._copied = 0
        self.is_begun = False

    def run(self) -> CheckedOut:
        listed = {file.path[1:]: file for file in self._listed()}
        names, left_out = without_own(listed)
        wanted = {name: listed[name] for name in names}
        bad = refused(wanted, os.pathconf(self._directory, "PC_NAME_MAX"), is_folding=is_folding(self._top))
        if bad:
            why = f"{_listed(bad)}; nothing was changed"
            raise InvalidPathError(
                "this disk cannot hold all files of the commit", why, "check out another directory of it"
            )
        plan = make_plan(self._checkout, wanted)
        self._refuse_to_lose(plan)
        self._refuse_to_empty(plan, wanted)
        sources = self._contents(plan)
        first = list(in_the_way(plan.remove, wanted))
        if self._links is None:  # else it may take no room
            fetching = (job for job in plan.bring if (job.file.hash, job.file.size) not in sources)
            require_room(self._directory, part.growth(fetching) - sum(plan.remove[path].size for path in first))
        self._begin(plan)
        self._remove(first, plan)
        self._bring(plan, sources)
        self._remove([path for path in plan.remove if path not in set(first)], plan)
        for left in self._checkout.parts:
            part.remove_leftover(self._top.at(left))
        self._checkout.parts.clear()
        self._checkout.complete = True
        self._checkout.save()
        return CheckedOut(
            directory=str(self._directory),
            source=self._checkout.source,
            commit=self._checkout.commit,
            files=len(wanted),
            bytes=sum(file.size for file in wanted.values()),
            fetched_files=len(self._fetched),
            fetched_bytes=sum(self._fetched),
            copied_files=self._copied,
            removed_files=len(plan.remove),
            shared_bytes=self._links.shared_bytes if self._links is not None else 0,
            left_out=left_out,
            notes=self._notes,
        )

    def _listed(self) -> Iterator[FileInfo]:
        number = size = 0
        for found in self._snapshot.walk():
            if not found.is_dir:
                number, size = number + 1, size + found.size
                self._show("listing", number, 0, size, 0)
                yield found

    def _refuse_to_lose(self, plan: Plan) -> None:
        if plan.in_the_way:
            why = f"{_listed(plan.in_the_way)}; nothing was changed"
            raise ConflictError(f"files in '{self._directory}' are in the way", why, "move them away")
        if plan.changed and not self._force:
            why = f"{_listed(plan.changed)}; nothing was changed"
            hint = "move them away, or add --force to replace them"
            raise ConflictError(f"local changes in '{self._directory}' would be lost", why, hint)

    def _refuse_to_empty(self, plan: Plan, wanted: Collection[str]) -> None:
        """Files go because a newer commit has removed them: not because their repo is another one, or has none."""
        if not plan.remove or self._force:
            return
        before, removed = self._checkout.commit, f"{len(plan.remove):,} files of '{self._directory}' would be removed"
        why = ""
        if not wanted:
            why = f"commit {self._snapshot.commit[:8]} has no files there"
        elif before and before != self._snapshot.commit and not self._snapshot.has_commit(before):
            why = f"commit {before[:8]}, which it holds, does not exist any more: the repo may be another one by now"
        if why:
            hint = f"pachmount list --commits {self._snapshot.source.project}/{self._snapshot.source.repo}"
            raise ConflictError(removed, f"{why}; nothing was changed", f"{hint}; --force removes them")

    def _contents(self, plan: Plan) -> dict[tuple[str, int], tuple[Spot, Seen]]:
        """Files on the disk by their contents, of which others can be copied."""
        needed = {(job.file.hash, job.file.size) for job in plan.bring if job.file.size and job.file.hash.strip("0")}
        found: dict[tuple[str, int], tuple[Spot, Seen]] = {}
        for path, kept in {**self._checkout.files, **plan.here}.items():
            if (kept.hash, kept.size) in needed and (kept.hash, kept.size) not in found:
                spot = self._top.at(path)
                seen = look(spot)
                if seen is not None and kept.is_at(seen):
                    found[kept.hash, kept.size] = (spot, seen)
        return found

    def _begin(self, plan: Plan) -> None:
        self.is_begun = True
        self._checkout.files.update(plan.here)
        self._checkout.source = self._source
        self._checkout.commit = self._snapshot.commit
        self._checkout.complete = False
        self._checkout.save()

    def _bring(self, plan: Plan, sources: dict[tuple[str, int], tuple[Spot, Seen]]) -> None:
        files, size = len(plan.bring), sum(job.file.size for job in plan.bring)
        tally = workers.Tally(lambda done, number: self._show("checking out", done, files, number, size))
        journal = Journal(self._checkout)
        copying = [job for job in plan.bring if (job.file.hash, job.file.size) in sources]
        fetching = [job for job in plan.bring if (job.file.hash, job.file.size) not in sources]

        def note(job: Job, seen: Seen) -> None:
            journal.note(job.file.path[1:], Kept(seen.size, seen.mtime_ns, job.file.hash))

        def fetch(job: Job) -> None:
            journal.note_part(part.place_of(job).path)
            part.fetch(self._snapshot, job, tally.count_bytes, note)
            tally.count_file()
            self._fetched.append(job.file.size)
            if self._links is not None:
                self._links.add(job.file, job.target)

        try:
            for job in copying:
                journal.note_part(part.place_of(job).path)
                if part.copy(*sources[job.file.hash, job.file.size], job, note):
                    self._copied += 1
                    tally.count_bytes(job.file.size)
                    tally.count_file()
                else:
                    fetching.append(job)
            workers.each(fetch, fetching, tally)
            if self._links is not None:
                self._links.finish()
        finally:
            journal.close()

    def _remove(self, paths: list[str], plan: Plan) -> None:
        """Files that went away, and directories that are empty then."""
        folders: set[str] = set()
        for path in paths:
            spot = self._top.at(path)
            if look(spot) != plan.remove[path]:
                raise ConflictError(f"'{spot}' was changed meanwhile", "by another program", "try again")
            spot.unlink()
            self._checkout.files.pop(path, None)
            folders.update(str(above) for above in Path(path).parents if str(above) != ".")
        for folder in sorted(folders, reverse=True):
            if not self._top.at(folder).entries():
                self._top.at(folder).rmdir()


def _listed(found: dict[str, str]) -> str:
    shown = "; ".join(f"'{path}': {why}" for path, why in list(found.items())[:SHOWN])
    return f"{shown}; and {len(found) - SHOWN:,} more" if len(found) > SHOWN else shown
