"""bottle as a sandbox of Inspect: `sandbox="bottle"`, or `sandbox=("bottle", "bottle.toml")`."""

from __future__ import annotations

import os
import shlex
from logging import getLogger
from typing import Any, Literal, overload

import anyio
from inspect_ai.util import (
    ExecResult,
    OutputLimitExceededError,
    SandboxConnection,
    SandboxEnvironment,
    SandboxEnvironmentConfigType,
    SandboxEnvironmentLimits,
    SandboxUnavailableError,
    SandboxUserUnsupportedError,
    sandboxenv,
)
from pydantic import BaseModel

from bottle_sandbox import command, places
from bottle_sandbox.command import Bottle, BottleError, NoUserError, TooLargeError
from bottle_sandbox.config import BottleConfig

logger = getLogger(__name__)

PREFIX = "inspect"
"""What the names of all bottles of Inspect's begin with."""


@sandboxenv(name="bottle")
class BottleSandboxEnvironment(SandboxEnvironment):
    """A sample's bottle."""

    # The bottles of this process that were not removed yet, by the state folder that they are in.
    _up: dict[str, Bottle] = {}

    def __init__(self, bottle: Bottle) -> None:
        super().__init__()
        self.bottle = bottle

    @classmethod
    def config_files(cls) -> list[str]:
        return ["bottle.toml"]

    @classmethod
    def is_docker_compatible(cls) -> bool:
        return False

    @classmethod
    def config_deserialize(cls, config: dict[str, Any]) -> BaseModel:
        return BottleConfig(**config)

    @classmethod
    def default_concurrency(cls) -> int | None:
        # A machine of one processor each; memory is taken as it is touched.
        return os.cpu_count() or 1

    @classmethod
    async def sample_init(
        cls, task_name: str, config: SandboxEnvironmentConfigType | None, metadata: dict[str, str]
    ) -> dict[str, SandboxEnvironment]:
        bottle = await Bottle.up(PREFIX, _config(config), cls._note)
        return {"default": cls(bottle)}

    @classmethod
    def _note(cls, bottle: Bottle) -> None:
        cls._up[bottle.slug] = bottle

    @classmethod
    async def sample_cleanup(
        cls,
        task_name: str,
        config: SandboxEnvironmentConfigType | None,
        environments: dict[str, SandboxEnvironment],
        interrupted: bool,
    ) -> None:
        for environment in environments.values():
            await cls._remove(environment.as_type(BottleSandboxEnvironment).bottle)

    @classmethod
    async def _remove(cls, bottle: Bottle) -> None:
        # A cancelled sample is no reason to leave a machine behind.
        with anyio.CancelScope(shield=True):
            try:
                await bottle.remove()
                cls._up.pop(bottle.slug, None)
            except BottleError as error:
                logger.warning("the bottle %s was not removed: %s", bottle.slug, error)

    @classmethod
    async def task_cleanup(
        cls, task_name: str, config: SandboxEnvironmentConfigType | None, cleanup: bool
    ) -> None:
        if not cleanup:
            for slug, bottle in cls._up.items():
                words = shlex.join(["bottle", *Bottle.options(bottle.config.state_dir)])
                print(f"the bottle {slug} stays: `{words} shell {slug}`, `{words} rm --force {slug}`")
            return
        for bottle in list(cls._up.values()):
            await cls._remove(bottle)

    @classmethod
    async def cli_cleanup(cls, id: str | None) -> None:
        if id is not None and not id.startswith(f"{PREFIX}-"):
            raise ValueError(f"{id} is not a bottle of Inspect's: their names begin with {PREFIX}-")
        removed = False
        for place in [None, *places.known()]:
            slugs = await command.named(PREFIX, place)
            chosen = [slug for slug in slugs if id in (None, slug)]
            for slug in chosen:
                await command.remove(slug, place)
                print(f"removed the bottle {slug}")
            removed |= bool(chosen)
            if place is not None and chosen == slugs:
                places.forget(place)
        if not removed:
            print("there are no bottles of Inspect's" if id is None else f"there is no bottle {id}")

    async def exec(
        self,
        cmd: list[str],
        input: str | bytes | None = None,
        cwd: str | None = None,
        env: dict[str, str] | None = None,
        user: str | None = None,
        timeout: int | None = None,
        timeout_retry: bool = True,
        concurrency: bool = True,
    ) -> ExecResult[str]:
        try:
            done = await self.bottle.exec(
                cmd,
                given=_bytes(input) if input is not None else None,
                workdir=cwd,
                env=env,
                user=user,
                timeout=timeout,
                most=SandboxEnvironmentLimits.MAX_EXEC_OUTPUT_SIZE,
            )
        except TooLargeError as error:
            raise OutputLimitExceededError(
                SandboxEnvironmentLimits.MAX_EXEC_OUTPUT_SIZE_STR, error.output.decode(errors="replace")
            ) from None
        except NoUserError as error:
            raise SandboxUserUnsupportedError(str(error)) from None
        except BottleError as error:
            raise SandboxUnavailableError(str(error)) from None
        return ExecResult(
            success=done.status == 0,
            returncode=done.status,
            stdout=done.stdout.decode(errors="replace"),
            stderr=done.stderr.decode(errors="replace"),
        )

    async def write_file(self, file: str, contents: str | bytes) -> None:
        try:
            await self.bottle.write(file, _bytes(contents))
        except NoUserError as error:
            raise SandboxUserUnsupportedError(str(error)) from None
        except BottleError as error:
            raise SandboxUnavailableError(str(error)) from None

    @overload
    async def read_file(self, file: str, text: Literal[True] = True) -> str: ...

    @overload
    async def read_file(self, file: str, text: Literal[False]) -> bytes: ...

    async def read_file(self, file: str, text: bool = True) -> str | bytes:
        limit = SandboxEnvironmentLimits.MAX_READ_FILE_SIZE
        try:
            content = await self.bottle.read(file, limit)
        except TooLargeError:
            raise OutputLimitExceededError(SandboxEnvironmentLimits.MAX_READ_FILE_SIZE_STR, None) from None
        except NoUserError as error:
            raise SandboxUserUnsupportedError(str(error)) from None
        except BottleError as error:
            raise SandboxUnavailableError(str(error)) from None
        return content.decode() if text else content

    async def connection(self, *, user: str | None = None) -> SandboxConnection:
        words = [*Bottle.options(self.bottle.config.state_dir), "exec", "--tty", *self.bottle.as_user(user)]
        words += ["--workdir", self.bottle.config.workdir, self.bottle.slug, "--", "/bin/sh", "-l"]
        return SandboxConnection(type="bottle", command=shlex.join([command.program(), *words]))


def _config(config: SandboxEnvironmentConfigType | None) -> BottleConfig:
    if config is None:
        return BottleConfig()
    if isinstance(config, str):
        return BottleConfig(file=config)
    if not isinstance(config, BottleConfig):
        raise TypeError(f"sandbox=\"bottle\" takes a bottle.toml or a BottleConfig, not {type(config).__name__}")
    return config


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text
