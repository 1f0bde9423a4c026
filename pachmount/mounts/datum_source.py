"""Where datums come from: the cluster's own listing, or formed here from what globs match in the commits asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import overload

from pachmount.datums.forming import (
    FormedDatums,
    Forming,
    Matcher,
    count,
    expand,
    form_datums,
    is_expandable,
    too_many,
)
from pachmount.datums.glob import BadPatternError, Glob, compile_glob
from pachmount.datums.keys import NotWantedError
from pachmount.datums.model import Cross, Datum, DatumFile, Input, Join, PfsInput, leaves
from pachmount.datums.rows import Match
from pachmount.datums.rules import OURS, Rules
from pachmount.errors import BranchMovedError, NotFoundError, NotPermittedError, PachmountError
from pachmount.mounts.resolve import Resolved, resolve
from pachmount.names import Source
from pachmount.pfs.client import PfsClient
from pachmount.pfs.model import CommitRef, FileEntry, ListedDatum, RepoRef
from pachmount.pfs.status import is_call_missing

BATCH = 1_000
USUAL = Forming()
FORMED_HERE = 100_000
"""More datums of a cross or a join are formed here: that is faster than to receive them."""

Progress = Callable[[int], None]
"""Told how many files have been matched, or datums received, so far."""


@dataclass(frozen=True, slots=True)
class DatumBatch:
    """Datums that follow those of the batch before; `total` is the number of all, None where it is not known yet."""

    datums: Sequence[Datum]
    total: int | None


class FormedHere(Sequence[Datum]):
    """All datums of an input, of which each is put together when it is asked for. Thread-safe."""

    def __init__(self, formed: FormedDatums[DatumFile]) -> None:
        self._formed = formed

    def __len__(self) -> int:
        return len(self._formed)

    @overload
    def __getitem__(self, at: int) -> Datum: ...
    @overload
    def __getitem__(self, at: slice) -> list[Datum]: ...
    def __getitem__(self, at: int | slice) -> Datum | list[Datum]:
        if isinstance(at, slice):
            return [self[position] for position in range(*at.indices(len(self)))]
        formed = self._formed[at]
        return Datum(formed.id, tuple(part.match.file for part in formed.parts))

    def find(self, datum_id: str) -> int | None:
        """The position of the datum with this id, None if there is none."""
        return self._formed.find(datum_id)


Found = FormedHere | Iterator[DatumBatch]
"""All datums at once, or as the cluster lists them."""


@dataclass(frozen=True)
class _Leaf:
    """A PFS input and the commit that its files are read from. `moved`: its branch's head is another one."""

    input: PfsInput
    commit: CommitRef
    moved: bool

    @property
    def key(self) -> tuple[RepoRef, str]:
        """What the cluster tells of a file that may be this input's."""
        return self.commit.repo, self.commit.id


class DatumSource:
    """The datums of an input, in the order of their ids.

    The cluster lists them, unless an input has a `commit`, a branch's head is not finished (its newest finished
    ancestor counts), two inputs read one commit (the cluster does not tell which one a file is for), or the call is
    missing; or there are more than FORMED_HERE of them. `finish_timeout`: seconds to wait for a commit that is being
    finished. `how` limits their number.
    """

    def __init__(
        self,
        client: PfsClient,
        source: Input,
        rules: Rules = OURS,
        *,
        finish_timeout: float = 60.0,
        batch: int = BATCH,
        how: Forming = USUAL,
    ) -> None:
        self._how = how
        self._client = client
        self._source = source
        self._rules = rules
        self._finish_timeout = finish_timeout
        self._batch = batch

    def batches(self, progress: Progress = lambda _: None) -> Iterator[DatumBatch]:
        """All datums, at least one. Nothing is asked of the cluster before the first is taken.

        Raises what `search` raises. Closing the generator ends the call under way.
        """
        found = self.search(progress)
        if isinstance(found, FormedHere):
            for start in range(0, len(found), self._batch):
                yield DatumBatch(found[start : start + self._batch], len(found))
        else:
            yield from found

    def search(self, progress: Progress = lambda _: None, wanted: Callable[[], bool] = lambda: True) -> Found:
        """All datums, at least one: formed here, or batches that are still to come from the cluster.

        `wanted` is asked now and then whether to go on; NotWantedError if not. Raises NoDatumsError,
        TooManyDatumsError, NotFoundError (no such project, repo, branch or commit), NotPermittedError, BusyError and
        whatever keeps us from asking; so do the batches.
        """
        how = replace(self._how, wanted=lambda: self._how.wanted() and wanted())
        found = self._found(self._resolved(), progress, how)
        if not isinstance(found, FormedHere):
            return self._counted(found, how)
        if not found:
            raise self._rules.zero_datums()
        return found

    def _counted(self, batches: Iterator[DatumBatch], how: Forming) -> Iterator[DatumBatch]:
        """The batches, as long as they are wanted and not too many."""
        number = 0
        for batch in batches:
            number += len(batch.datums)
            if number > how.limit:
                raise too_many(f"more than {how.limit:,}", how.limit)
            if not how.wanted():
                raise NotWantedError
            yield batch
        if not number:
            raise self._rules.zero_datums()

    def _resolved(self) -> list[_Leaf]:
        """The inputs in the order of the tree."""
        known: dict[Source, Resolved] = {}
        return [self._resolve(leaf, known) for leaf in leaves(self._source)]

    def _resolve(self, leaf: PfsInput, known: dict[Source, Resolved]) -> _Leaf:
        source = Source(leaf.project, leaf.repo, "" if leaf.commit else leaf.branch, leaf.commit)
        if source not in known:
            try:
                known[source] = resolve(self._client, source, self._finish_timeout)
            except (NotFoundError, NotPermittedError) as error:
                error.what = self._rules.processing + self._rules.parsing + self._words(leaf, error)
                raise
        found = known[source]
        repo = RepoRef(leaf.project, leaf.repo)
        return _Leaf(leaf, CommitRef(repo, found.source.commit, found.source.branch), found.head != found.source.commit)

    def _words(self, leaf: PfsInput, error: PachmountError) -> str:
        """Ours, or for clients of the original the cluster's when it looks for the branch."""
        if self._rules is not OURS and isinstance(error, NotFoundError) and not leaf.commit:
            try:
                self._client.inspect_branch(RepoRef(leaf.project, leaf.repo), leaf.branch)
            except NotFoundError as told:
                return told.what
        return error.what

    def _found(self, resolved: list[_Leaf], progress: Progress, how: Forming) -> Found:
        by_key = {leaf.key: leaf for leaf in resolved}
        matcher = self._matcher(resolved, progress, how)
        if self._rules.expanded and is_expandable(self._source):
            return FormedHere(expand(self._source, matcher, how))
        if len(by_key) < len(resolved) or any(leaf.input.commit or leaf.moved for leaf in resolved):
            return FormedHere(form_datums(self._source, matcher, how))
        if _multiplies(self._source):
            known = {id(leaf.input): list(matcher(leaf.input)) for leaf in resolved}
            if count(self._source, lambda leaf: known[id(leaf)], how) > FORMED_HERE:
                return FormedHere(form_datums(self._source, lambda leaf: known[id(leaf)], how))
        return self._listed_or_formed(by_key, matcher, progress, how)

    def _listed_or_formed(
        self,
        by_key: dict[tuple[RepoRef, str], _Leaf],
        matcher: Matcher[DatumFile],
        progress: Progress,
        how: Forming,
    ) -> Found:
        listed = self._listed({key: _Files(leaf) for key, leaf in by_key.items()}, progress)
        try:
            first = next(listed, None)
        except PachmountError as error:
            if not (isinstance(error, BranchMovedError) or is_call_missing(error)):
                raise
            return FormedHere(form_datums(self._source, matcher, how))
        return chain((first,) if first is not None else (), listed)

    def _listed(self, files: dict[tuple[RepoRef, str], _Files], progress: Progress) -> Iterator[DatumBatch]:
        """What the cluster lists. Raises BranchMovedError when it reads other commits than those in `files`."""
        count = 0
        waiting: list[Datum] = []

        def datum(listed: ListedDatum) -> Datum:
            found = tuple(_known(files, commit).file(entry) for commit, entry in listed.files)
            return Datum(listed.id, found)

        for batch in self._client.datums.list(self._source):
            waiting.extend(map(datum, batch))
            count += len(batch)
            progress(count)
            while len(waiting) >= self._batch:
                yield DatumBatch(tuple(waiting[: self._batch]), None)
                del waiting[: self._batch]
        if waiting:
            yield DatumBatch(tuple(waiting), count)

    def _matcher(self, resolved: list[_Leaf], progress: Progress, how: Forming) -> Matcher[DatumFile]:
        """The files of the very commits that were resolved."""
        counted = 0
        leaf_of = {id(leaf.input): leaf for leaf in resolved}

        def matches(source: PfsInput) -> Iterator[Match[DatumFile]]:
            nonlocal counted
            leaf = leaf_of[id(source)]
            files = _Files(leaf)
            for entries in self._client.glob(leaf.commit, leaf.input.glob or "/"):
                if not how.wanted():
                    raise NotWantedError
                yield from map(files.match, entries)
                counted += len(entries)
                progress(counted)

        return matches


class _Files:
    """Makes the DatumFiles of one input, each once: many datums of a cross have the same."""

    def __init__(self, leaf: _Leaf) -> None:
        self._leaf = leaf
        self._glob = _glob_with_captures(leaf.input)
        self._made: dict[str, DatumFile] = {}

    def match(self, entry: FileEntry) -> Match[DatumFile]:
        """The file as a match of the input's glob."""
        file = self._make(entry)
        return Match(file.key()[-1], file, file.join_on, file.group_by)

    def file(self, entry: FileEntry) -> DatumFile:
        """The file at an entry's path."""
        known = self._made.get(entry.path)
        if known is None:
            known = self._made[entry.path] = self._make(entry)
        return known

    def _make(self, entry: FileEntry) -> DatumFile:
        source, commit, path = self._leaf.input, self._leaf.commit, entry.path or "/"
        return DatumFile(
            input=source.directory,
            project=source.project,
            repo=source.repo,
            branch=source.branch,
            commit=commit.id,
            path=path,
            is_dir=entry.is_dir,
            size_bytes=entry.size,
            hash=entry.hash.hex(),
            join_on=self._glob.replace(path, source.join_on) if self._glob else source.join_on,
            group_by=self._glob.replace(path, source.group_by) if self._glob else source.group_by,
        )


def _multiplies(source: Input) -> bool:
    """Whether an input may have more datums than its globs match files."""
    return not isinstance(source, PfsInput) and (
        isinstance(source, Cross | Join) or any(map(_multiplies, source.inputs))
    )


def _glob_with_captures(source: PfsInput) -> Glob | None:
    """The glob, if what it captures matters."""
    if "$" not in source.join_on + source.group_by:
        return None
    try:
        return compile_glob(source.glob)
    except BadPatternError:  # the cluster reads it, we do not
        return None


def _known(files: dict[tuple[RepoRef, str], _Files], commit: CommitRef) -> _Files:
    found = files.get((commit.repo, commit.id))
    if found is None:
        raise BranchMovedError(f"a branch of {commit.repo} moved while its datums were listed", "", "try again")
    return found
