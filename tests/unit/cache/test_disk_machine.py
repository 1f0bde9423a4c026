"""The blocks on disk under random use by two stores of one directory: never a wrong byte, never over the limit."""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pachmount.cache import disk as disk_module
from pachmount.cache.blocks import BlockKey
from pachmount.cache.disk import DiskBlocks

MIB = 1 << 20
LIMIT = 6 * MIB
SIZES = (0, 1, 4095, 4096, 65_535, 65_536, 300_001, MIB)
numbers = st.integers(0, 40)
which = st.integers(0, 1)


def key(number: int) -> BlockKey:
    return (number.to_bytes(4, "big") * 8, number % 3)


TRUTH = {key(number): random.Random(number).randbytes(SIZES[number % len(SIZES)]) for number in range(41)}


class Blocks(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.top = Path(tempfile.mkdtemp())
        self.directory = self.top / "blocks"
        self.stores = [DiskBlocks(self.directory, LIMIT) for _ in range(2)]

    def teardown(self) -> None:
        for store in self.stores:
            store.close()
        shutil.rmtree(self.top)

    @rule(which=which, chosen=st.lists(numbers, min_size=1, max_size=12))
    def put(self, which: int, chosen: list[int]) -> None:
        """As readers do: what is looked for and not found is fetched and put."""
        store = self.stores[which]
        assert all(store.get(key(number)) in (None, TRUTH[key(number)]) for number in chosen)
        store.put_many([(key(number), TRUTH[key(number)]) for number in chosen])
        last = key(chosen[-1])
        assert store.get(last) in (None, TRUTH[last])
        if len(chosen) == 1:
            if store.get(last) is None:  # the other store's, damaged before this one had looked at the new directory
                store.put_many([(last, TRUTH[last])])
            assert store.get(last) == TRUTH[last], "what was written last is there"

    @rule(which=which, number=numbers)
    def get(self, which: int, number: int) -> None:
        assert self.stores[which].get(key(number)) in (None, TRUTH[key(number)])

    @rule(which=which)
    def reopen(self, which: int) -> None:
        self.stores[which].close()
        self.stores[which] = DiskBlocks(self.directory, LIMIT)

    @rule(which=which)
    def clear(self, which: int) -> None:
        self.stores[which].clear()
        for store in self.stores:
            store.tidy()  # lets go of what was deleted from outside
        assert not any(store.contains(name) for store in self.stores for name in TRUTH)

    @rule(which=which)
    def tidy(self, which: int) -> None:
        self.stores[which].tidy()

    @rule(which=which)
    def verify(self, which: int) -> None:
        for name, size, good in self.stores[which].verify(lambda name, data: data == TRUTH[name]):
            assert not good or size == len(TRUTH[name])
        assert all(good for _, _, good in self.stores[which].verify(lambda name, data: data == TRUTH[name]))

    @rule(seed=st.integers(0, 1000))
    def damage(self, seed: int) -> None:
        chance = random.Random(seed)
        for path in sorted(self.directory.glob("*.segment"))[:1]:
            with path.open("r+b") as file:
                file.seek(chance.randrange(path.stat().st_size + 1))
                file.write(chance.randbytes(5000))

    @rule()
    def lose_a_segment(self) -> None:
        for path in sorted(self.directory.glob("*.segment"))[:1]:
            path.unlink()

    @rule()
    def delete_everything(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)

    @invariant()
    def within_the_limit_and_never_off(self) -> None:
        assert [store.disabled_reason for store in self.stores] == ["", ""]
        if self.directory.exists():
            assert sum(path.stat().st_blocks * 512 for path in self.directory.iterdir()) <= LIMIT


@pytest.mark.parametrize("examples", [60, pytest.param(2000, marks=pytest.mark.long)])
@pytest.mark.timeout(1800)
def test_any_use_of_it(monkeypatch: pytest.MonkeyPatch, examples: int) -> None:
    monkeypatch.setattr(disk_module, "FREE_SPACE_FLOOR", 0.0)
    Blocks.TestCase.settings = settings(max_examples=examples, stateful_step_count=25, deadline=None, database=None)
    Blocks.TestCase("runTest").runTest()
