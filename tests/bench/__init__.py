"""Measurements; `scripts/bench NAME` runs the module of that name here."""
