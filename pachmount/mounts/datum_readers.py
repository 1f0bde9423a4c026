"""Reading the files of a datum: what the datum itself tells of them is not asked of the cluster again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pachmount.pfs.model import ByteStream, CommitReader, CommitRef, FileEntry
from pachmount.vfs.hashes import content_hash

_EMPTY_HASH = content_hash(b"")


@dataclass(frozen=True)
class DatumPart:
    """What a datum has of one input. With `empty_files` only the names count, as in a pipeline."""

    files: dict[str, FileEntry] = field(hash=False)
    empty_files: bool = False


class DatumReader(CommitReader):
    """Files from the datum, what is below its directories from the cluster."""

    def __init__(self, reader: CommitReader, part: DatumPart) -> None:
        self._reader = reader
        self._part = part

    def walk_batches(self, commit: CommitRef, path: str) -> Iterator[Sequence[FileEntry]]:
        known = self._part.files.get(path)
        if known is not None:
            yield [self._shown(known)]
            return
        for batch in self._reader.walk_batches(commit, path):
            yield [self._shown(entry) for entry in batch] if self._part.empty_files else batch

    def list(self, commit: CommitRef, path: str) -> Iterator[FileEntry]:
        return map(self._shown, self._reader.list(commit, path))

    def open(self, commit: CommitRef, path: str, offset: int) -> ByteStream:
        return self._reader.open(commit, path, offset)

    def open_tar(self, commit: CommitRef, directory: str, lower: str, upper: str) -> ByteStream:
        return self._reader.open_tar(commit, directory, lower, upper)

    def _shown(self, entry: FileEntry) -> FileEntry:
        return entry if entry.is_dir or not self._part.empty_files else entry._replace(size=0, hash=_EMPTY_HASH)
