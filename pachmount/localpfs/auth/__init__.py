"""Authentication: tokens, logins through a browser, roles and permissions, for tests and demonstrations."""
