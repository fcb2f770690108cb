"""Bottles with stand-in guests: the real bottle, keeper, doors and helper, and a namespace in place of a machine."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session", autouse=True)
def stand_ins() -> Iterator[Path]:
    """Points everything at a folder of its own, which must hold no bottle at the end."""
    build = ROOT / "target/debug"
    folder = Path(tempfile.mkdtemp(prefix="bottle-inspect-"))
    programs = folder / "bin"
    programs.mkdir()
    (programs / "bottle").symlink_to(build / "bottle")
    (programs / "smolvm").symlink_to(build / "smolvm-stand-in")
    before = dict(os.environ)
    os.environ.update(
        PATH=f"{programs}:{ROOT / 'tools/bin'}:{os.environ['PATH']}",
        BOTTLE_GUEST_HELPER=str(ROOT / "target/guest/bottle-guest"),
        BOTTLE_STATE_DIR=str(folder / "state"),
        BOTTLE_RUNTIME_DIR=str(folder / "run"),
        BOTTLE_CACHE_DIR=str(folder / "cache"),
        STAND_IN_STATE=str(folder / "machines"),
        # Guests whose users can be added to.
        STAND_IN_OWN_ETC="1",
        XDG_CACHE_HOME=str(folder / "xdg"),
        INSPECT_LOG_DIR=str(folder / "logs"),
        INSPECT_DISPLAY="none",
    )
    yield folder
    left = [path.name for path in (folder / "machines").glob("*.json")] if (folder / "machines").is_dir() else []
    os.environ.clear()
    os.environ.update(before)
    shutil.rmtree(folder, ignore_errors=True)
    assert not left, f"machines are left: {left}"
