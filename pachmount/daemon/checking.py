"""What would keep a daemon from starting, found out while another one still runs: a restart ends that one only then."""

from __future__ import annotations

import tempfile

from pachmount.daemon.surroundings import client_access, refuse_own_paths_below
from pachmount.errors import ConfigurationError
from pachmount.paths import Places, make_private_dir
from pachmount.settings import Settings
from pachmount.users import parse_owner, parse_users


def check_start(where: Places, settings: Settings) -> None:
    """Raise the ConfigurationError that a daemon with these places and settings would end with."""
    refuse_own_paths_below(where, settings)
    if settings.file_owner:
        parse_owner(settings.file_owner, "file_owner")
    parse_users(settings.socket_users, "socket_users")
    if settings.listen:
        client_access(where, settings)
    make_private_dir(where.lock_file.parent)
    for directory in {file.parent for file in (where.lock_file, where.log_file, where.socket)}:
        if not directory.is_dir():  # the user may have named one, whose mode is not ours to change
            make_private_dir(directory)
        try:
            with tempfile.TemporaryFile(dir=directory):
                pass
        except OSError as error:
            why = error.strerror or str(error)
            raise ConfigurationError(f"cannot write in '{directory}'", why, "pachmount doctor") from error
