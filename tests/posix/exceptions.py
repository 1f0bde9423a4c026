"""Cases of pjdfstest that fail on a read-write mount, and why: the list in docs/semantics.md."""

EXCEPTIONS = {
    "rename::updates_link_parent": "a directory has 2 links, whatever is in it: counting would mean listing it",
}
