"""Makes some grey images (PGM) of circles and squares below a directory: python3 make_images.py DIR."""

import sys
from pathlib import Path

SIZE = 32


def pixel(kind: str, number: int, row: int, column: int) -> int:
    """Light inside of the figure, dark outside."""
    across, down = abs(column - SIZE // 2), abs(row - SIZE // 2)
    inside = max(across, down) < number + 5 if kind == "square" else across**2 + down**2 < (number + 5) ** 2
    return 200 if inside else 30


def main(directory: Path) -> None:
    for kind in ("circle", "square"):
        for number in range(3):
            pixels = bytes(pixel(kind, number, row, column) for row in range(SIZE) for column in range(SIZE))
            path = directory / kind / f"{number}.pgm"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"P5 %d %d 255\n%s" % (SIZE, SIZE, pixels))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
