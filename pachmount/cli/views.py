"""How mounts, commits and times read in sentences and tables; no Typer, no Rich."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pachmount.cli.output import short

if TYPE_CHECKING:
    from pachmount.api.schema import MountStatus


def source_text(mount: MountStatus) -> str:
    """`default/images@master=1a2b3c4d:/path`, with as much of the commit as people need."""
    reference = "=".join(part for part in (mount.branch, short(mount.commit)) if part)
    path = mount.path.rstrip("/")
    return f"{mount.project}/{mount.repo}@{reference}" + (f":{path}" if path else "")


def sentence(text: str) -> str:
    """A message of another library in our style: no capital at the start, no full stop at the end."""
    text = text.strip().rstrip(".")
    return text[:1].lower() + text[1:] if text[1:2].islower() else text
