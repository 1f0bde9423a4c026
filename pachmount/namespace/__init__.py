"""A mount namespace of our own: entering it, with or without privileges, and what is mounted in it."""
