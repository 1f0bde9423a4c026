"""The cluster: typed calls in, frozen dataclasses out; the only client-side gRPC."""
