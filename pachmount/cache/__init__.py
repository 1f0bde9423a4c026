"""Content-addressed blocks in memory and on disk, shared by all mounts."""
