"""Path filters: which part of a commit a mount shows, compared by path components."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator

from pachmount.names import normalize_path
from pachmount.pfs.model import FileEntry


class PathFilter:
    """A set of paths; visible are these, everything below them, and the directories that lead to them.

    No path, or the root among them, shows everything.
    """

    def __init__(self, paths: Iterable[str] = ()) -> None:
        # In the order of a walk: with a slash behind each, what lies below a directory follows it at once.
        normalized = sorted({normalize_path(path) for path in paths}, key=lambda path: f"{path}/")
        roots: list[str] = []
        for path in normalized:
            if not roots or not _is_at_or_below(path, roots[-1]):
                roots.append(path)
        self.paths: tuple[str, ...] = () if "" in roots else tuple(roots)
        self._keys = [f"{path}/" for path in self.paths]

    @property
    def everything(self) -> bool:
        return not self.paths

    def leads_to(self, directory: str) -> bool:
        """Whether `directory` ("" = root) lies strictly above one of the paths."""
        above = f"{directory}/" if directory else ""
        following = bisect_right(self._keys, above)
        return following < len(self._keys) and self._keys[following].startswith(above)

    def visible(self, path: str) -> bool:
        return self.everything or self.leads_to(path) or self._holds(path)

    def _holds(self, path: str) -> bool:
        """Whether a path is one of ours or below one: that could only be the last one that is not behind it."""
        key = f"{path}/"
        before = bisect_right(self._keys, key)
        return before > 0 and key.startswith(self._keys[before - 1])

    def select(self, entries: Iterable[FileEntry]) -> Iterator[FileEntry]:
        return (entry for entry in entries if self.visible(entry.path))


def _is_at_or_below(path: str, root: str) -> bool:
    return path == root or path.startswith(f"{root}/")
