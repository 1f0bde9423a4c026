"""Running hypothesis state machines whose world (daemon, mounts, processes) is too dear to be made for each example."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test


def run(machine: type[RuleBasedStateMachine], world: object, examples: int, steps: int) -> None:
    """Run `machine` in a `world`, which its rules find in an attribute of that name."""
    bound = type(machine.__name__, (machine,), {"world": world})
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        bound,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
            database=None,
            phases=[Phase.generate],  # what depends on time cannot be shrunk
        ),
    )
