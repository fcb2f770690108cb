"""A node with bottles, for the suites beside this file: stand-in guests, or real ones with GUEST=real."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).resolve().parents[2]
REAL = os.environ.get("GUEST") == "real"
GUEST = "a real guest" if REAL else "a stand-in guest"
DID_NOT_START = 75
"""The status of a guest that did not start, which shows nothing either way. The harness tries again."""

SMALL = "[guest]\ncpus = 1\nmemory = 512\n"


class Node:
    """A folder with everything of bottle's, and a project in it. All of it is gone afterwards."""

    def __init__(self, slug: str, config: str) -> None:
        self.slug = slug
        self.folder = Path(tempfile.mkdtemp(prefix="bottle-outside-"))
        # smolvm's machine passes through it as another user.
        self.folder.chmod(0o755)
        self.project = self.folder / "project"
        programs = self.folder / "bin"
        for path in (self.project, programs):
            path.mkdir()
        if not REAL:
            (programs / "smolvm").symlink_to(ROOT / "target/debug/smolvm-stand-in")
        os.environ.update(
            PATH=f"{programs}:{ROOT / 'tools/bin'}:{os.environ['PATH']}:/usr/sbin:/sbin",
            BOTTLE_GUEST_HELPER=str(ROOT / "target/guest/bottle-guest"),
            STAND_IN_STATE=str(self.folder / "machines"),
            # As the harness has it: guests are slow under emulation.
            SMOLVM_AGENT_READY_TIMEOUT_SECS="90",
            SMOLVM_START_TIMEOUT_SECS="90",
        )
        os.environ.setdefault("SMOLVM_AGENT_ROOTFS", str(ROOT / "tools/smolvm/agent-rootfs"))
        self.configure(config)

    def configure(self, config: str) -> None:
        (self.project / "bottle.toml").write_text(f'slug = "{self.slug}"\n{config}')

    @property
    def bottle(self) -> list[str]:
        """The start of every call of `bottle`."""
        return [str(ROOT / "target/debug/bottle"), "--quiet", "--state-dir", str(self.folder / "node")]

    def call(self, *words: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        line = [*self.bottle, *words]
        return subprocess.run(
            line, cwd=self.project, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout
        )

    def guest(self, script: str) -> tuple[int, str]:
        """Runs a script in the guest, and returns its status and everything that it wrote."""
        done = self.call("exec", self.slug, "--", "sh", "-c", script)
        return done.returncode, done.stdout + done.stderr

    def __enter__(self) -> Node:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.call("rm", "--force", self.slug)
        shutil.rmtree(self.folder, ignore_errors=True)
