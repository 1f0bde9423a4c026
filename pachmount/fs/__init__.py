"""`pfs://[project/]repo@branch/path` for fsspec: what pandas, pyarrow, dask and `fsspec.open` read and write with.

    import fsspec
    fs = fsspec.filesystem("pfs")
    fs.ls("images@master/2024")

It works without FUSE; the daemon, whose cache it shares with the mounts, starts by itself. Needs `pachmount[fsspec]`.
"""

from __future__ import annotations

from pachmount.fs.filesystem import PachFileSystem

__all__ = ["PachFileSystem"]
