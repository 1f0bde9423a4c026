"""localpfs: an embedded server that speaks the PFS gRPC API over SQLite and content-addressed files."""
