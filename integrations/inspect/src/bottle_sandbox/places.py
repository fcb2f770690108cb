"""The state folders that bottles were given besides bottle's own, so that a cleanup finds what a crash left there."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def _folder() -> Path:
    """One file for each state folder: processes that start at once write none in common."""
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state"
    return Path(home) / "bottle-sandbox" / "state-folders"


def _entry(place: str) -> Path:
    return _folder() / hashlib.sha256(os.fsencode(place)).hexdigest()[:32]


def note(state_dir: str) -> None:
    """Remembers a state folder, before anything is in it."""
    place = os.path.abspath(state_dir)
    _folder().mkdir(parents=True, exist_ok=True, mode=0o700)
    part = _entry(place).with_suffix(f".{os.getpid()}")
    part.write_bytes(os.fsencode(place))
    part.replace(_entry(place))


def known() -> list[str]:
    """Returns the state folders that were noted and are there. On another machine they may not be."""
    try:
        entries = [path for path in _folder().iterdir() if not path.suffix]
    except FileNotFoundError:
        return []
    places = [os.fsdecode(path.read_bytes()) for path in entries]
    return sorted(place for place in places if os.path.isdir(place))


def forget(state_dir: str) -> None:
    """Forgets a state folder, which need not be known."""
    _entry(os.path.abspath(state_dir)).unlink(missing_ok=True)
