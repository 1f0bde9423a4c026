"""Mounts over their life: states, the manager that makes, moves and removes them, the cluster they show."""
