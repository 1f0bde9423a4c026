"""Memory for blocks that lies on pages, so that direct I/O takes it as it is."""

from __future__ import annotations

import ctypes

PAGE = 4096

Block = bytes | memoryview
"""The bytes of a block; nobody changes them once they are a block, writable or not."""


def rounded(size: int) -> int:
    """What `size` bytes of a file take on disk."""
    return -(-size // PAGE) * PAGE


def on_pages(size: int) -> memoryview:
    """New memory of `size` bytes that begins on a page."""
    memory = memoryview(bytearray(size + PAGE))
    start = -address_of(memory) % PAGE
    return memory[start : start + size]


def is_on_pages(memory: memoryview) -> bool:
    """Whether these are whole pages in memory."""
    return len(memory) % PAGE == 0 and not memory.readonly and address_of(memory) % PAGE == 0


def address_of(memory: memoryview) -> int:
    """Where writable memory begins; valid as long as the view is held."""
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))
