"""pachmount: versioned Pachyderm data as files, for people, scripts and notebooks."""

__version__ = "0.1.0"
