"""`cache info|clear|verify`: what is kept on disk of that which was downloaded; with a running daemon or without."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pachmount.cli import options as opt
from pachmount.cli import output
from pachmount.cli.app import App
from pachmount.cli.state import State
from pachmount.errors import ConfigurationError, ExitCode, UnreachableError

if TYPE_CHECKING:
    from pachmount.cache.blocks import BlockKey
    from pachmount.cache.disk import DiskBlocks

_BLOCKS, _LISTINGS = "blocks", "listings"


def build() -> App:
    """The commands of the group."""
    app = App(help="Look at, check and empty the cache on disk.")
    app.add(info, "info")
    app.add(clear, "clear")
    app.add(verify, "verify")
    return app


def info(state: State, as_json: opt.Json = False) -> None:
    """Show what the cache holds.

    \b
    Examples:
      pachmount cache info
      pachmount cache info --json | jq .disk_bytes

    All daemons with the same cache directory share it.
    """
    with opened(state) as (top, store):
        segments, contents, listings = store.segments(), store.contents(), _listing_bytes(top)
        used, limit, blocks = store.bytes_used, store.limit, store.blocks
    oldest_use = segments[0].used if segments else None
    if as_json:
        answer = {
            "directory": str(top),
            "disk_bytes": used,
            "disk_limit": limit,
            "disk_blocks": blocks,
            "contents": contents,
            "segments": len(segments),
            "oldest_use": oldest_use,
            "listing_bytes": listings,
        }
        output.json_answer(answer)
        return
    output.line(f"directory  {top}")
    held = f"{output.count(blocks, 'block')} of {output.count(contents, 'content')}"
    output.line(f"blocks     {output.size(used)} of {output.size(limit)}: {held}")
    output.line(f"listings   {output.size(listings)}")
    if oldest_use is not None:
        output.line(f"oldest     used {output.duration(time.time() - oldest_use)} ago")


def clear(state: State, as_json: opt.Json = False) -> None:
    """Remove everything from the cache.

    \b
    Examples:
      pachmount cache clear

    What is read again is downloaded again; mounts and running programs go on.
    """
    with opened(state) as (top, store):
        blocks = store.blocks
        freed = store.clear()
        freed += _clear_listings(top)
    if as_json:
        output.json_answer({"directory": str(top), "freed_bytes": freed, "blocks": blocks})
    else:
        output.line(f"freed {output.size(freed)} in {top} ({output.count(blocks, 'block')})")


def verify(state: State, as_json: opt.Json = False) -> ExitCode:
    """Read the whole cache and remove what is damaged.

    \b
    Examples:
      pachmount cache verify

    Damage never reaches a reader: each block is checked when it is read, too.
    Exit code 0: all is well; 1: something was damaged and was removed.
    """
    good = damaged = checked = 0
    with opened(state) as (top, store), output.progress(enabled=not state.quiet and not as_json) as bar:
        total = store.bytes_used
        for _, size, is_good in store.verify(_is_right):
            good += is_good
            damaged += not is_good
            checked += size
            bar.update("checking", checked, max(total, checked))
    if as_json:
        output.json_answer({"directory": str(top), "blocks": good, "damaged": damaged, "bytes": checked})
    elif damaged:
        what = (
            f"{output.count(damaged, 'damaged block')} of {good + damaged:,} removed: to be downloaded again when read"
        )
        output.line(what, "yellow")
    else:
        output.line(f"{output.count(good, 'block')}, {output.size(checked)}: all good")
    return ExitCode.FAILURE if damaged else ExitCode.OK


def _is_right(key: BlockKey, data: bytes) -> bool:
    """Whether a block is what its name says, as far as one block can tell: a small file by its hash."""
    from pachmount.vfs.hashes import VERIFIABLE_BYTES, content_hash

    digest, number = key
    is_whole = number == 0 and len(data) < VERIFIABLE_BYTES and len(digest) == len(content_hash(b""))
    return not is_whole or content_hash(data) == digest


@contextlib.contextmanager
def opened(state: State) -> Iterator[tuple[Path, DiskBlocks]]:
    """The cache directory of the running daemon, else of the settings, and its blocks. ConfigurationError if it cannot
    be used.
    """
    from pachmount.cache.disk import DiskBlocks

    try:
        answer = state.client().status().cache
        blocks, limit = Path(answer.directory), answer.disk_limit
    except UnreachableError:
        from pachmount import settings

        loaded = settings.load()
        blocks, limit = loaded.cache_dir / _BLOCKS, loaded.cache_size
    store = DiskBlocks(blocks, limit, create=False)
    try:
        yield blocks.parent, store
        if store.disabled_reason:
            raise ConfigurationError(f"cannot use the cache in '{blocks}'", store.disabled_reason, "pachmount doctor")
    finally:
        store.close()


def _listing_bytes(top: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in _listing_files(top))


def _clear_listings(top: Path) -> int:
    freed = 0
    for path in _listing_files(top):
        size = path.stat().st_blocks * 512
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
            freed += size
    return freed


def _listing_files(top: Path) -> list[Path]:
    return [path for path in (top / _LISTINGS).rglob("*") if path.is_file()]
