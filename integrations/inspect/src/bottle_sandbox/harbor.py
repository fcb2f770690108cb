"""bottle as an environment of Harbor: `-e bottle_sandbox.harbor:BottleEnvironment`."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harbor.environments.base import BaseEnvironment, ExecResult
from harbor.environments.capabilities import EnvironmentCapabilities, EnvironmentResourceCapabilities
from harbor.models.task.config import NetworkMode, NetworkPolicy

from bottle_sandbox.command import Bottle, BottleError, NoUserError, TooLargeError
from bottle_sandbox.config import BottleConfig

PREFIX = "harbor"
"""What the names of all bottles of Harbor's begin with."""

MOST_OUTPUT = 64 << 20
MOST_FILE = 1 << 30

# As Harbor's own environments do it: bash where the image has it.
SHELL = 'if [ -x /bin/bash ]; then shell=/bin/bash; else shell=/bin/sh; fi; exec "$shell" -c "$1"'


class BottleEnvironment(BaseEnvironment):
    """A trial's bottle.

    The task names an image (`docker_image`): a registry's name, or an archive or a folder of this machine. `--ek bare=true`
    takes smolvm's own Alpine instead. Nothing is built from a Dockerfile.
    """

    def __init__(self, *args: Any, bare: bool = False, state_dir: str | None = None, **kwargs: Any) -> None:
        self._bare = bare
        self._state_dir = state_dir
        self._bottle: Bottle | None = None
        super().__init__(*args, **kwargs)

    @staticmethod
    def type() -> str:
        return "bottle"

    @property
    def capabilities(self) -> EnvironmentCapabilities:
        # The egress proxy knows names. It dials no address that a guest names.
        return EnvironmentCapabilities(
            disable_internet=True,
            network_allowlist=True,
            network_allowlist_hostnames=True,
            network_allowlist_wildcard_hostnames=True,
            mounted=False,
        )

    @classmethod
    def resource_capabilities(cls) -> EnvironmentResourceCapabilities:
        return EnvironmentResourceCapabilities(cpu_limit=True, memory_limit=True)

    def validate_network_policy_support(self, network_policy: NetworkPolicy | None = None) -> None:
        policy = network_policy or self._network_policy
        if policy.network_mode == NetworkMode.PUBLIC:
            raise ValueError(
                "a bottle has no public network: set network_mode = \"no-network\", or \"allowlist\" with allowed_hosts, "
                "in the task's task.toml"
            )
        super().validate_network_policy_support(network_policy)

    def _validate_definition(self) -> None:
        if self.os.value != "linux":
            raise ValueError("a bottle's guest is Linux")
        if not self._bare and not self.task_env_config.docker_image:
            raise ValueError(
                "a bottle boots from an image: set docker_image in the task's [environment]; --ek bare=true takes smolvm's "
                "own Alpine. Nothing is built from a Dockerfile"
            )

    def _config(self) -> BottleConfig:
        policy = self.network_policy
        allow: Sequence[str] = policy.allowed_hosts if policy.network_mode == NetworkMode.ALLOWLIST else ()
        cpus, memory = self._effective_cpus, self._effective_memory_mb
        return BottleConfig(
            image=None if self._bare else self.task_env_config.docker_image,
            cpus=max(1, int(cpus)) if cpus is not None else 1,
            memory=int(memory) if memory is not None else 1024,
            allow=tuple(allow),
            workdir=self.task_env_config.workdir or "/app",
            state_dir=self._state_dir,
        )

    async def start(self, force_build: bool) -> None:
        if force_build:
            raise ValueError("a bottle boots from a finished image, and builds none")
        if self._bottle is not None:
            return
        self._bottle = await Bottle.up(PREFIX, self._config())
        try:
            await self.ensure_dirs(self._mount_targets(writable_only=True))
            await self._upload_environment_dir_after_start()
        except BaseException:
            await self.stop(delete=True)
            raise

    async def stop(self, delete: bool) -> None:
        if self._bottle is not None:
            await asyncio.shield(self._bottle.remove() if delete else self._bottle.stop())
            self._bottle = None

    def _up(self) -> Bottle:
        if self._bottle is None:
            raise RuntimeError("the environment was not started")
        return self._bottle

    async def exec(
        self,
        command: str,
        cwd: str | None = None,
        env: dict[str, str] | None = None,
        timeout_sec: int | None = None,
        user: str | int | None = None,
    ) -> ExecResult:
        who = self._resolve_user(user)
        try:
            done = await self._up().exec(
                ["/bin/sh", "-c", SHELL, "bottle", command],
                workdir=cwd,
                env=self._merge_env(env),
                user=None if who is None else str(who),
                timeout=timeout_sec,
                most=MOST_OUTPUT,
            )
        except TooLargeError:
            raise RuntimeError(f"the command wrote more than {MOST_OUTPUT >> 20} MiB, and was ended") from None
        except (BottleError, NoUserError) as error:
            raise RuntimeError(str(error)) from None
        stdout, stderr = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        callback = self._output_callback()
        if callback is not None:
            if stdout:
                await callback(stdout, "stdout")
            if stderr:
                await callback(stderr, "stderr")
        return ExecResult(stdout=stdout or None, stderr=stderr or None, return_code=done.status)

    async def upload_file(self, source_path: Path | str, target_path: str) -> None:
        source = Path(source_path)
        content = await asyncio.to_thread(source.read_bytes)
        await self._up().write(target_path, content)
        if source.stat().st_mode & 0o100:
            await self._up().exec(["chmod", "+x", self._up().inside(target_path)])

    async def upload_dir(self, source_dir: Path | str, target_dir: str) -> None:
        bottle = self._up()
        target = bottle.inside(target_dir)
        made = await bottle.exec(["mkdir", "-p", target])
        if made.status != 0:
            raise RuntimeError(f"the guest could not make {target}: {made.stderr.decode(errors='replace')}")
        for child in sorted(Path(source_dir).iterdir()):
            await bottle.copy(str(child.absolute()), f"{bottle.slug}:{target}")

    async def download_file(self, source_path: str, target_path: Path | str) -> None:
        content = await self._up().read(source_path, MOST_FILE)
        target = Path(target_path)
        await asyncio.to_thread(target.parent.mkdir, parents=True, exist_ok=True)
        await asyncio.to_thread(target.write_bytes, content)

    async def download_dir(self, source_dir: str, target_dir: Path | str) -> None:
        # bottle takes one thing, under a name that we choose, and leaves out what could act on this machine.
        bottle = self._up()
        with tempfile.TemporaryDirectory(prefix="bottle-harbor-") as folder:
            came = Path(folder) / "came"
            await bottle.copy(f"{bottle.slug}:{bottle.inside(source_dir)}", str(came))
            await asyncio.to_thread(shutil.copytree, came, target_dir, symlinks=True, dirs_exist_ok=True)
