"""Running a command over datums, each in a /pfs of its own, as a pipeline would."""
