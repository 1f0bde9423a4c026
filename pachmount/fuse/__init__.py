"""FUSE: the binding to libfuse, sessions (one kernel mount each), and the kernel's mount table."""
