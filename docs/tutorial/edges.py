"""Finds edges in grey images (PGM): the code of a pipeline, which reads /pfs/images and writes /pfs/out."""

import os
from pathlib import Path

THRESHOLD = 40


def edges(width: int, height: int, pixels: bytes) -> bytes:
    """White where a pixel differs much from the one to its right or below, else black."""
    found = bytearray(width * height)
    for row in range(height - 1):
        for column in range(width - 1):
            at = row * width + column
            across = abs(pixels[at] - pixels[at + 1])
            down = abs(pixels[at] - pixels[at + width])
            if across + down > THRESHOLD:
                found[at] = 255
    return bytes(found)


def convert(source: Path, target: Path) -> None:
    """Read one image and write its edges."""
    magic, width, height, most, pixels = source.read_bytes().split(None, 4)
    if magic != b"P5" or most != b"255":
        raise SystemExit(f"{source} is no grey image")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(b"P5 %s %s 255\n%s" % (width, height, edges(int(width), int(height), pixels)))


if __name__ == "__main__":
    for directory, _, names in os.walk("/pfs/images"):
        for name in names:
            path = Path(directory, name)
            convert(path, Path("/pfs/out") / path.relative_to("/pfs/images"))
