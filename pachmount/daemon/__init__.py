"""The daemon: spawned by a command, one a user and mount directory; `app` is its composition root."""
