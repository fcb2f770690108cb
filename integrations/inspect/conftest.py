"""Bottles with stand-in guests: the real bottle, keeper, doors and helper, and a namespace in place of a machine.

With GUEST=real they have real guests, on a machine that boots them.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REAL = os.environ.get("GUEST") == "real"


@pytest.fixture(scope="session", autouse=True)
def stand_ins() -> Iterator[Path]:
    """Points everything at a folder of its own, which must hold no bottle at the end."""
    build = ROOT / "target/debug"
    folder = Path(tempfile.mkdtemp(prefix="bottle-inspect-"))
    programs = folder / "bin"
    programs.mkdir()
    (programs / "bottle").symlink_to(build / "bottle")
    before = dict(os.environ)
    if REAL:
        # A machine's process passes through it as another user, and guests are slow under emulation.
        folder.chmod(0o711)
        os.environ.update(SMOLVM_AGENT_READY_TIMEOUT_SECS="90", SMOLVM_START_TIMEOUT_SECS="90")
        os.environ.setdefault("SMOLVM_AGENT_ROOTFS", str(ROOT / "tools/smolvm/agent-rootfs"))
    else:
        (programs / "smolvm").symlink_to(build / "smolvm-stand-in")
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
        XDG_STATE_HOME=str(folder / "xdg-state"),
        INSPECT_LOG_DIR=str(folder / "logs"),
        INSPECT_DISPLAY="none",
    )
    yield folder
    left = [path.name for path in (folder / "machines").glob("*.json")] if (folder / "machines").is_dir() else []
    os.environ.clear()
    os.environ.update(before)
    shutil.rmtree(folder, ignore_errors=True)
    assert not left, f"machines are left: {left}"
