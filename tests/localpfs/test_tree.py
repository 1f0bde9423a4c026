"""The persistent tree against a dict, and file trees against a plain model of directories."""

from __future__ import annotations

import itertools
import random
from hashlib import blake2b
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from pachmount.localpfs import diff, filetree, listing, tree
from pachmount.localpfs.listing import Window
from pachmount.localpfs.pages import Entry, Page, decode
from pachmount.localpfs.store import Store
from pachmount.localpfs.writing import FileBuilder


class Memory:
    """Pages in a dict."""

    def __init__(self) -> None:
        self.pages: dict[int, Page] = {}

    def load(self, page_id: int) -> Page:
        return self.pages[page_id]

    def save(self, data: bytes) -> int:
        page_id = len(self.pages) + 1
        self.pages[page_id] = decode(data)
        return page_id


def _entry(number: int) -> Entry:
    return Entry(False, number, number.to_bytes(32, "big"), (number + 1).to_bytes(32, "big"))


_KEYS = st.builds(lambda number: b"/%03d" % number, st.integers(0, 600))
_CHANGES = st.dictionaries(_KEYS, st.one_of(st.none(), st.builds(_entry, st.integers(1, 99))), max_size=500)


@settings(max_examples=60, deadline=None)
@given(st.lists(_CHANGES, max_size=6), _KEYS, _KEYS)
def test_tree_behaves_like_a_dict(batches: list[dict[bytes, Entry | None]], low: bytes, high: bytes) -> None:
    pages = Memory()
    root = tree.EMPTY
    model: dict[bytes, Entry] = {}
    history = [(root, model)]
    for batch in batches:
        root = tree.update(pages, root, sorted(batch.items()))
        model = {key: entry for key, entry in (model | batch).items() if entry is not None}
        history.append((root, model))
    for old_root, old_model in history:  # earlier trees stay as they were
        expected = sorted(old_model.items())
        assert list(tree.scan(pages, old_root)) == expected
        inside = [item for item in expected if low <= item[0] < high]
        assert list(tree.scan(pages, old_root, low, high)) == inside
        assert list(tree.scan_back(pages, old_root, low, high)) == inside[::-1]
        assert tree.get(pages, old_root, low) == old_model.get(low)
    for (one, first), (two, second) in itertools.pairwise(history):
        expected_difference = [
            (key, first.get(key), second.get(key))
            for key in sorted(first.keys() | second.keys())
            if low <= key < high and first.get(key) != second.get(key)
        ]
        assert list(diff.differences(pages, one, two, low, high)) == expected_difference


def test_a_small_change_shares_all_other_pages() -> None:
    pages = Memory()
    root = tree.update(pages, tree.EMPTY, [(b"/%06d" % number, _entry(1)) for number in range(50_000)])
    before = len(pages.pages)
    changed = tree.update(pages, root, [(b"/025000", _entry(2))])
    assert len(pages.pages) - before <= 4
    loaded: list[int] = []

    class Counting:
        def load(self, page_id: int) -> Page:
            loaded.append(page_id)
            return pages.load(page_id)

    assert len(list(diff.differences(Counting(), changed, root, b"", b"\xff"))) == 1
    assert len(loaded) < 50


def test_long_keys_are_cut_into_several_pages() -> None:
    pages = Memory()
    items = [(b"/" + b"x" * 4000 + b"%04d" % number, _entry(number)) for number in range(300)]
    root = tree.update(pages, tree.EMPTY, items)
    assert list(tree.scan(pages, root)) == items
    root = tree.update(pages, root, [(key, None) for key, _ in items[5:]])
    assert list(tree.scan(pages, root)) == items[:5]


_NAMES = ["a", "b", "a.b", "a-", "ab", "z"]


def _random_changes(chance: random.Random) -> tuple[filetree.Deletions, dict[bytes, bytes]]:
    def path() -> str:
        return "/" + "/".join(chance.choices(_NAMES, k=chance.randint(1, 4)))

    added = {
        path().encode(): bytes(chance.choices(b"xyz", k=chance.randint(0, 5))) for _ in range(chance.randint(0, 40))
    }
    files = {path().encode() for _ in range(chance.randint(0, 10))}
    trees = {(path().encode() + b"/", "") for _ in range(chance.choice([0, 0, 1, 3]))}
    return filetree.Deletions(files, trees), added


def _hash(data: bytes) -> bytes:
    return blake2b(data, digest_size=32).digest()


def _expected(model: dict[bytes, bytes]) -> dict[bytes, tuple[int, bytes]]:
    """Size and hash of every file and directory, worked out the long way."""
    known = {key: (len(data), _hash(_hash(data)) if data else _hash(b"")) for key, data in model.items()}
    directories = {key[: at + 1] for key in model for at in range(len(key)) if key[at : at + 1] == b"/"}
    for directory in sorted(directories, key=lambda one: -one.count(b"/")):
        depth = directory.count(b"/")
        inside = sorted(key for key in known if key.startswith(directory) and key != directory)
        children = [key for key in inside if key.rstrip(b"/").count(b"/") == depth]
        size = sum(known[key][0] for key in children)
        known[directory] = (size, _hash(b"".join(known[key][1] for key in children)))
    return known


def test_directories_are_kept_right(store: Store) -> None:
    chance = random.Random(7)
    for _ in range(15):
        root = tree.EMPTY
        model: dict[bytes, bytes] = {}
        problems: list[filetree.Problem] = []
        for _ in range(6):
            deletions, added = _random_changes(chance)
            with store.staging() as staging, store.change() as db:
                batch = store.batch(db)
                additions = []
                for key, data in sorted(added.items()):
                    staging.writer.seal()
                    builder = FileBuilder(staging.writer)
                    builder.append(data)
                    additions.append((key, builder.finish()))
                root, touched = filetree.lay_over(batch, root, deletions, additions, staging.writer)
                root, problems = filetree.settle(batch, root, touched, problems)
                staging.writer.record(db)
                batch.finish(root)
            model = {key: data for key, data in model.items() if not deletions.covers(key)}
            for key, data in added.items():
                model[key] = model.get(key, b"") + data
            expected = _expected(model)
            found = {key: (entry.size, entry.hash) for key, entry in tree.scan(store.pages, root)}
            assert found == expected
            # As a cluster does it: only a file right before one in a directory of its name is noticed.
            collisions = {file for file, after in pairwise(sorted(model)) if after.startswith(file + b"/")}
            noticed = {key for key in collisions for one in problems if one.position.encode().startswith(key + b"/")}
            assert noticed == collisions
            _check_listings(store, root, expected)


def _check_listings(store: Store, root: int, expected: dict[bytes, tuple[int, bytes]]) -> None:
    for directory in [key for key in expected if key.endswith(b"/")]:
        depth = directory.count(b"/")
        below = sorted(key for key in expected if key.startswith(directory))
        children = [key for key in below if key != directory and key.rstrip(b"/").count(b"/") == depth]
        children = [key for key in expected if key == directory[:-1]] + children  # the file of the same name

        def keys(window: Window, directory: bytes = directory) -> list[bytes]:
            path = directory.decode().rstrip("/") or "/"
            return [key for key, _ in listing.children(store.pages, root, path, window)]

        assert keys(Window()) == children
        assert keys(Window(number=1000, reverse=True)) == children[::-1]
        for marker in below[:: max(1, len(below) // 4)]:
            behind = [key for key in children if key > marker and key != marker + b"/"]
            assert keys(Window(marker=marker.decode())) == behind
            assert keys(Window(marker=marker.decode(), number=2)) == behind[:2]
            before = [key for key in children if key < marker]
            assert keys(Window(marker=marker.decode(), number=3, reverse=True)) == before[::-1][:3]
