"""A ledger: how a store knows, outside its SQLite database, how that must have ended; docs/architecture.md explains it.

    <store>/<database>            the index, which all reading uses
    <store>/ledger/<number>.db    a snapshot of it
    <store>/ledger/<number>.log   what every transaction since then changed
    <store>/lost+found/<time>/    what was damaged, moved here

`open_ledger` compares both and opens them for writing; `look` compares only; `repair` makes a damaged database anew.
"""

from __future__ import annotations

from pachmount.ledger.compare import Look, Verdict, look
from pachmount.ledger.ledger import Ledger
from pachmount.ledger.lost import LostAndFound
from pachmount.ledger.opening import damaged, open_ledger
from pachmount.ledger.repair import Repaired, repair

__all__ = ["Ledger", "Look", "LostAndFound", "Repaired", "Verdict", "damaged", "look", "open_ledger", "repair"]
