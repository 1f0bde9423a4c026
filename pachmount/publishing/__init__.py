"""Notebooks and scripts as pipelines: reading them, checking what was asked for, and the pipeline that comes of it."""
