"""What was made last, kept for whoever asks for the same again: bounded by number and by weight."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sized
from typing import Generic, TypeVar

MAX_KEPT = 16
MAX_WEIGHT = 1_000_000

T = TypeVar("T", bound=Sized)


class LastUsed(Generic[T]):
    """The last MAX_KEPT things, as long as their lengths add up to MAX_WEIGHT at most. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, T] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], T], is_valid: Callable[[T], bool] = lambda _kept: True) -> T:
        """What is kept under a key, or made now (without a lock: two may do that at once) if it is not valid."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None and is_valid(found):
                self._kept.move_to_end(key)
                return found
        made = make()
        with self._lock:
            self._kept[key] = made
            self._kept.move_to_end(key)
            weight = sum(map(len, self._kept.values()))
            while self._kept and (len(self._kept) > MAX_KEPT or weight > MAX_WEIGHT):
                weight -= len(self._kept.popitem(last=False)[1])
        return made
