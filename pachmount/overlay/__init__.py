"""Staged changes over a commit: what a read-write mount shows, kept on the local disk until it is committed."""
