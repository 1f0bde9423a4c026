"""The REST API: `schema` for everybody, the rest for the daemon: one handler a route."""
