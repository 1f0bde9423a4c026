"""The pages of the issuer: what a browser sees of a login."""

from __future__ import annotations

import html

LOGGED_IN = "You are now logged in. Go back to the terminal to use Pachyderm!"
INCOMPLETE = "invalid OIDC callback request: missing OIDC state token or authorization code"

_STYLE = (
    "body{font:16px sans-serif;max-width:22em;margin:4em auto}label{display:block;margin:.8em 0}"
    "input{display:block;width:100%;font:inherit;box-sizing:border-box}.wrong{color:#a00}"
)


def form(login: str = "", *, wrong: bool = False) -> str:
    """The login form, which is sent to the address that it came from."""
    complaint = '<p class="wrong">Wrong login or password.</p>' if wrong else ""
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Log in</title><style>{_STYLE}</style></head>
<body><h1>Log in</h1><p>This is the embedded server of pachmount.</p>{complaint}
<form method="post">
<label>Login <input name="login" value="{html.escape(login)}" autocomplete="username" autofocus required></label>
<label>Password <input name="password" type="password" autocomplete="current-password" required></label>
<button>Log in</button>
</form></body></html>
"""


def failed(state: str) -> str:
    return f"authorization failed ({_token(state)})"


def too_late(state: str) -> str:
    return f"temporary error during authorization ({_token(state)})"


def _token(state: str) -> str:
    """As much of a state as may be shown: less than it takes to use it."""
    return f'OIDC state token: "{state[: len(state) // 2]}...."; Pachyderm logs may contain more information'
