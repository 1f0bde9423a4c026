"""Datums without a cluster: input specs, and forming datums from what globs match. Knows neither gRPC nor a store."""
