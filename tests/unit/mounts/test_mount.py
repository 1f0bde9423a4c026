"""What a mount says of itself, and that what it remembers survives a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachmount.mounts.mount import BranchPosition, Mount, MountSpec
from pachmount.names import Source

A, B = "a" * 32, "b" * 32
names = st.text("abcdefghijklmnopqrstuvwxyzABC019_", min_size=1, max_size=20).filter(lambda name: name != "out")
parts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="/\0"), min_size=1)
paths = st.lists(parts.filter(lambda part: part not in (".", "..")), max_size=3)


def spec(**changes: object) -> MountSpec:
    values: dict[str, object] = {
        "name": "n",
        "source": Source("default", "r", "master", A),
        "mountpoint": Path("/pfs/n"),
        **changes,
    }
    return MountSpec(**values)  # type: ignore[arg-type]


@given(
    names,
    st.builds(Source, names, names, names | st.just(""), st.just(A)),
    paths,
    st.floats(0, 4e9),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_a_spec_survives_json(
    name: str, source: Source, parts: list[str], time: float, pinned: bool, complete: bool, own: bool, follow: bool
) -> None:
    made = MountSpec(
        name=name,
        source=source,
        mountpoint=Path("/pfs", *parts),
        paths=tuple(f"/{part}" for part in parts),
        time=time,
        pinned=pinned,
        complete=complete,
        own_directory=own,
        follow=follow,
    )
    assert MountSpec.from_dict(json.loads(json.dumps(made.to_dict()))) == made


@pytest.mark.parametrize("key", [key for key in spec().to_dict() if key not in ("follow", "cluster", "repo_created")])
def test_a_spec_without_one_of_its_parts_is_refused(key: str) -> None:
    data = spec().to_dict()
    del data[key]
    with pytest.raises(KeyError):
        MountSpec.from_dict(data)


def test_a_mount_that_an_older_version_remembered_does_not_follow() -> None:
    data = spec(follow=True).to_dict()
    del data["follow"]
    assert MountSpec.from_dict(data) == spec()


def test_at_another_commit_it_is_the_same_mount() -> None:
    before = spec(paths=("/d",), own_directory=False)
    after = before.at(B, 5.0, complete=False, pinned=True)
    assert after.source == Source("default", "r", "master", B)
    assert (after.time, after.complete, after.pinned) == (5.0, False, True)
    assert (after.name, after.mountpoint, after.paths, after.own_directory) == ("n", Path("/pfs/n"), ("/d",), False)


@pytest.mark.parametrize(
    ("position", "text"),
    [
        (BranchPosition(), "on commit aaaaaaaa"),
        (BranchPosition(A, 0, 3), "up to date on latest commit aaaaaaaa"),
        (BranchPosition(B, 1, 3), "1 commits behind latest; current = aaaaaaaa (1'th), latest = bbbbbbbb (2'th)"),
        (BranchPosition(B, 2, 3), "2 commits behind latest; current = aaaaaaaa (0'th), latest = bbbbbbbb (2'th)"),
        (BranchPosition(B, 3, 3), "3 commits behind latest; current = aaaaaaaa (-1'th), latest = bbbbbbbb (2'th)"),
        (BranchPosition(B, 7, None), "7 commits behind latest; current = aaaaaaaa, latest = bbbbbbbb"),
    ],
)
def test_the_status_is_in_the_words_of_the_original(position: BranchPosition, text: str) -> None:
    assert Mount(spec(), position=position).status_text() == text


def test_the_status_of_a_pinned_and_of_an_unfinished_commit() -> None:
    assert Mount(spec(pinned=True)).status_text() == "pinned to commit aaaaaaaa"
    assert "not finished" in Mount(spec(complete=False)).status_text()
