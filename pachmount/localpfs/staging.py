"""What one ModifyFile or CreateFileSet stream asks for, collected apart from any commit until the stream ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pachmount.datums.glob import clean_path
from pachmount.localpfs import paths, tree
from pachmount.localpfs.content import Content
from pachmount.localpfs.database import Database, mark_garbage
from pachmount.localpfs.filetree import Deletions, appended, files, with_directories
from pachmount.localpfs.pages import Entry, Item
from pachmount.localpfs.pagestore import PageBatch, PageStore
from pachmount.localpfs.writing import ChunkWriter, FileBuilder

_SPILL_FILES = 20_000


@dataclass(frozen=True)
class Delta:
    """A change: first the deletions, then the files of the tree `root` appended to those that are there."""

    deletions: Deletions
    root: int


class Staging:
    """Takes additions, deletions and copies in the order in which they come, with bounded memory."""

    def __init__(self, database: Database, pages: PageStore, content: Content) -> None:
        self.writer = ChunkWriter(database, content)
        self._database = database
        self._pages = pages
        self._deletions = Deletions()
        self._added: dict[bytes, Entry | None] = {}  # None: gone again after it went into the tree below
        self._root = tree.EMPTY
        self._open_key: bytes | None = None
        self._open: FileBuilder | None = None

    def add(self, key: bytes, data: bytes) -> None:
        """Append `data` to the file with this key; without data it becomes an empty file unless it is there."""
        if self._open is None or key != self._open_key:
            self._close_file()
            self._open = FileBuilder(self.writer, self._find(key))
            self._open_key = key
        self._open.append(data)

    def copy(self, key: bytes, entry: Entry, append: bool) -> None:
        """Put a file that the store has under this key, in place of what is there or appended to it."""
        self._close_file()
        if not append:
            self.delete_file(key)
        before = self._find(key)
        self._put(key, entry if before is None else appended(self.writer, before, entry))

    def delete_file(self, key: bytes) -> None:
        self._close_file()
        self._deletions.files.add(key)
        self._forget(key)

    def delete_tree(self, directory: bytes, datum: str) -> None:
        """Delete everything below a directory that has this datum; "" stands for any datum."""
        self._close_file()
        self._deletions.trees.add((directory, datum))
        gone = Deletions(trees={(directory, datum)})
        for key in [key for key in self._added if gone.covers(key)]:
            del self._added[key]
        for key in gone.keys(self._pages, self._root):
            self._added[key] = None

    def seal(self) -> None:
        """Nothing more comes; to be called before the transaction in which the change is made."""
        self._close_file()
        self.writer.seal()

    def finish(self, batch: PageBatch) -> Delta:
        """All that was staged. The transaction has to end with `writer.record`."""
        return Delta(self._deletions, self._flush(batch))

    def _find(self, key: bytes) -> Entry | None:
        if key in self._added:
            return self._added[key]
        return tree.get(self._pages, self._root, key)

    def _forget(self, key: bytes) -> None:
        self._added.pop(key, None)
        if tree.get(self._pages, self._root, key) is not None:
            self._added[key] = None

    def _put(self, key: bytes, entry: Entry) -> None:
        self._added[key] = entry
        if len(self._added) >= _SPILL_FILES:
            with self._database.write() as db:
                batch = PageBatch(self._pages, db)
                self._root = self._flush(batch)
                batch.finish(self._root)
                mark_garbage(db)

    def _flush(self, batch: PageBatch) -> int:
        changes = with_directories(sorted(self._added.items()))
        self._root = tree.update(batch, self._root, changes)
        self._added.clear()
        return self._root

    def _close_file(self) -> None:
        if self._open is not None and self._open_key is not None:
            key, builder = self._open_key, self._open
            self._open, self._open_key = None, None
            self._put(key, builder.finish())


def copied_files(pages: PageStore, root: int, source: str, destination: str, datum: str) -> Iterator[tuple[str, Item]]:
    """What copying the file or directory `source` to `destination` makes: pairs of new path and source item."""
    path = clean_path(source)
    target = "/" + "/".join(element for element in destination.split("/") if element)
    low = b"" if path == "/" else path.encode()
    found = files(tree.scan(pages, root, low, low + b"\1")) if path != "/" else iter(())
    for item in found:
        if datum in ("", paths.split_key(item[0])[1]):
            yield target, item
    directory = paths.directory_key(path)
    for item in files(tree.scan(pages, root, directory, paths.subtree_end(directory))):
        file_path, file_datum = paths.split_key(item[0])
        if datum in ("", file_datum):
            yield target.rstrip("/") + "/" + file_path[len(directory) :].decode(), item
