"""What the bottles of an evaluation are made from."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path

from pydantic import BaseModel, Field


class BottleConfig(BaseModel, frozen=True):
    """The bottle of a sample.

    Either `file` names a `bottle.toml`, which says everything about the machine, or the other fields do.
    """

    file: str | None = None
    """A bottle.toml. With `[workspace] mode = "copy"` each sample works on a copy of the folder that it is in."""

    image: str | None = None
    """What the guest boots from: a registry's name, an archive or a folder. Without one it is smolvm's bare Alpine."""

    cpus: int = Field(default=1, ge=1, le=255)
    """The guest's processors."""

    memory: int = Field(default=1024, ge=128)
    """Its memory in MiB, of which only what it touches is taken."""

    allow: tuple[str, ...] = ()
    """The hosts that the egress proxy lets it reach."""

    user: str | None = None
    """The user of the guest that commands run as and files belong to, unless a call names another. Root without one."""

    workdir: str = "/workspace"
    """The folder of the guest that relative paths start in. It is made if it is missing."""

    state_dir: str | None = None
    """A folder of this machine for everything that bottle keeps, as `bottle --state-dir` takes it."""

    def path(self) -> Path:
        """Returns the bottle.toml, which is written if the fields are to make it.

        The same fields make the same file, in the user's cache: nothing of it has to be cleaned up after a crash.
        """
        if self.file is not None:
            return Path(self.file).resolve()
        text = self.text()
        name = hashlib.sha256(text.encode()).hexdigest()[:16]
        cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        folder = Path(cache) / "bottle-sandbox" / name
        file = folder / "bottle.toml"
        if not file.exists():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as draft:
                draft.write(text)
            os.replace(draft.name, file)
        return file

    def text(self) -> str:
        """Returns the bottle.toml that the fields make."""
        guest = {"image": self.image, "cpus": self.cpus, "memory": self.memory}
        lines = ["# Written by bottle-sandbox.", "[guest]"]
        # A string of JSON is one of TOML.
        lines += [f"{key} = {json.dumps(value)}" for key, value in guest.items() if value is not None]
        lines += ["", "[workspace]", 'mode = "none"', "", "[egress]"]
        lines += [f"allow = {json.dumps(list(self.allow))}", ""]
        return "\n".join(lines)
