"""Copies of files of a commit on a disk, made without a mount: single files, and checkouts that are kept up to date."""
