"""The file system without FUSE: immutable views of commits, and range reads with read-ahead."""
