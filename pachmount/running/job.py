"""All datums of a run: in their order, some at a time, each once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from pachmount.datums.model import Datum
from pachmount.running.messages import Order, Outcome
from pachmount.running.pool import Pool
from pachmount.running.records import RunDirectory, datum_key

LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class Numbered:
    """A datum and its place among all of the input."""

    index: int
    datum: Datum


@dataclass
class Tally:
    """How far a run is. `order` has what became of each datum by its place."""

    total: int
    running: int = 0
    outcomes: dict[int, Outcome] = field(default_factory=dict)

    @property
    def failed(self) -> int:
        return sum(outcome.state == "failed" for outcome in self.outcomes.values())

    @property
    def succeeded(self) -> bool:
        """Whether every datum was done, and none failed."""
        return len(self.outcomes) == self.total and not self.failed


@dataclass(frozen=True)
class Job:
    """How datums are run.

    `order` makes a worker's order of a datum and its directory, `code` stands for the code, `prefetch` is given the
    datums that wait whenever one has begun.
    """

    directory: RunDirectory
    code: str
    order: Callable[[Datum, str], Order]
    prefetch: Callable[[Iterator[Datum]], None] = lambda _: None
    fail_fast: bool = False

    def run(self, pool: Pool, datums: Sequence[Numbered], tally: Tally) -> Iterator[Tally]:
        """Run what was not done before; yields whenever the tally changed, or some time has passed."""
        waiting = deque(self._not_done(datums, tally))
        yield tally
        begun: dict[str, tuple[Numbered, str]] = {}
        while waiting or begun:
            while waiting and pool.idle:
                one, key = waiting.popleft()
                directory = self.directory.begin(one.datum.id)
                begun[one.datum.id] = one, key
                pool.begin(self.order(one.datum, str(directory)))
                self.prefetch(one.datum for one, _ in waiting)
            tally.running = len(begun)
            for outcome in pool.wait(LOOK_SECONDS):
                one, key = begun.pop(outcome.datum)
                self.directory.add(outcome, key)
                tally.outcomes[one.index] = outcome
                if self.fail_fast and outcome.state == "failed":
                    waiting.clear()
            tally.running = len(begun)
            yield tally

    def _not_done(self, datums: Sequence[Numbered], tally: Tally) -> Iterator[tuple[Numbered, str]]:
        for one in datums:
            key = datum_key(self.code, one.datum)
            before = self.directory.done(one.datum.id, key)
            if before is None:
                yield one, key
            else:
                tally.outcomes[one.index] = replace(before, seconds=0.0)
