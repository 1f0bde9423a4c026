"""How an upload goes, on a progress bar."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pachmount.cli import output

if TYPE_CHECKING:
    from pachmount.pfs.upload import Progress

FILE_COST = 16 << 10
"""Bytes that a file counts for in the progress bar beside its own: small files take their time, too."""


def shown_on(bar: output.Bar) -> Any:
    """What shows the progress of an upload on a bar."""

    def show(progress: Progress) -> None:
        text = f"{progress.files:,}/{progress.total_files:,} files, {output.size(progress.bytes)}"
        done = progress.bytes + progress.files * FILE_COST
        total = progress.total_bytes + progress.total_files * FILE_COST
        bar.update(f"importing {text}" if progress.phase == "upload" else f"finishing {text}", done, total)

    return show
