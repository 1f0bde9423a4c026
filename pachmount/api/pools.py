"""The threads that work on requests, apart by what they may wait for: none waits for what another one waits for."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor


class Pools:
    """`poll` answers from memory, `look` asks the cluster, `work` changes something, `upload` sends data for as long as
    that takes, `stream` reads pieces of files, `login` waits for a person. The rest of a pool's requests wait in a
    queue.
    """

    def __init__(self) -> None:
        self.poll = ThreadPoolExecutor(4, thread_name_prefix="poll")
        self.look = ThreadPoolExecutor(16, thread_name_prefix="look")
        self.work = ThreadPoolExecutor(8, thread_name_prefix="work")
        self.upload = ThreadPoolExecutor(16, thread_name_prefix="upload")
        self.stream = ThreadPoolExecutor(8, thread_name_prefix="stream")
        self.login = ThreadPoolExecutor(4, thread_name_prefix="login")

    def close(self) -> None:
        """Begin nothing more; what runs is not waited for."""
        for pool in (self.poll, self.look, self.work, self.upload, self.stream, self.login):
            pool.shutdown(wait=False, cancel_futures=True)
