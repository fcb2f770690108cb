"""Drives the command `bottle`: a bottle for each sample, commands and files in it."""

from __future__ import annotations

import errno
import json
import os
import posixpath
import shutil
import signal
import subprocess
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import anyio
from anyio.abc import ByteReceiveStream, Process

from bottle_sandbox import places
from bottle_sandbox.config import BottleConfig

# How long `bottle` has to end what it began, once it was told to. It gives the guest 12 s.
GRACE = 20.0

# The statuses of `bottle`, as docs/exit-codes.md has them.
IS_FOLDER, NO_BOTTLE, NO_USER, NOT_FOUND, TOO_LARGE, NO_PERMISSION = 65, 66, 67, 72, 76, 77


class BottleError(RuntimeError):
    """bottle could not do what it was asked for: there is no such bottle, or this machine lacks something."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class TooLargeError(Exception):
    """A file or an output has more bytes than were asked for."""

    def __init__(self, output: bytes = b"") -> None:
        super().__init__("it is larger than what was asked for")
        self.output = output


class NoUserError(Exception):
    """The guest has no such user."""


@dataclass(frozen=True)
class Done:
    """A command in a guest that ended by itself, or that the guest could not run."""

    status: int
    stdout: bytes
    stderr: bytes


@dataclass(frozen=True)
class Called:
    """A call of `bottle` that ended."""

    status: int
    stdout: bytes
    stderr: bytes
    ended: dict[str, Any] | None

    def why(self) -> str:
        """Returns what bottle said last."""
        text = self.stderr.decode(errors="replace").strip()
        return text.removeprefix("error: ") or f"bottle ended with status {self.status}"


def program() -> str:
    """Returns the path of the command: that of BOTTLE, or the one on PATH."""
    found = os.environ.get("BOTTLE") or shutil.which("bottle")
    if found is None:
        raise BottleError("bottle is not on PATH; install it, or set BOTTLE to its path", 69)
    return found


async def call(words: Sequence[str], given: bytes | None = None, report: bool = False) -> Called:
    """Calls `bottle`. With `report`, these words get a descriptor for how a command in the guest ended.

    If the caller is cancelled, `bottle` is told to end, and it ends what it began in the guest.
    """
    ours, theirs = os.pipe() if report else (-1, -1)
    words = [program(), "--quiet", *words]
    if report:
        at = words.index("exec") + 1
        words[at:at] = ["--status-fd", str(theirs)]
    try:
        process = await anyio.open_process(
            words,
            stdin=subprocess.PIPE if given is not None else subprocess.DEVNULL,
            pass_fds=(theirs,) if report else (),
            # A Ctrl-C at the terminal is for the framework, which decides what becomes of the command.
            start_new_session=True,
        )
    finally:
        if report:
            os.close(theirs)
    try:
        stdout, stderr = await _talk(process, given)
        status = await process.wait()
        ended = json.loads(_rest(ours) or b"null") if report else None
        return Called(status, stdout, stderr, ended)
    finally:
        with anyio.CancelScope(shield=True):
            await _end(process)
        if report:
            os.close(ours)


async def _talk(process: Process, given: bytes | None) -> tuple[bytes, bytes]:
    """Feeds a process, and reads everything that it writes. What `bottle` writes is bounded by its own limits."""
    came: dict[str, bytes] = {}

    async def read(name: str, stream: ByteReceiveStream) -> None:
        parts = bytearray()
        async for part in stream:
            parts += part
        came[name] = bytes(parts)

    async def write() -> None:
        if process.stdin is not None and given is not None:
            try:
                await process.stdin.send(given)
                await process.stdin.aclose()
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                # It does not read any more, and its status says why.
                pass

    assert process.stdout is not None and process.stderr is not None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read, "stdout", process.stdout)
        tasks.start_soon(read, "stderr", process.stderr)
        tasks.start_soon(write)
    return came["stdout"], came["stderr"]


async def _end(process: Process) -> None:
    """Ends a process that still runs, by its means if they suffice."""
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
        with anyio.move_on_after(GRACE):
            await process.wait()
    if process.returncode is None:
        process.kill()
        await process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            await stream.aclose()


def _rest(descriptor: int) -> bytes:
    """Reads what was written to a pipe whose other end is closed."""
    parts = bytearray()
    while part := os.read(descriptor, 65536):
        parts += part
    return bytes(parts)


class Bottle:
    """A bottle that is up."""

    def __init__(self, slug: str, config: BottleConfig) -> None:
        self.slug = slug
        self.config = config

    @staticmethod
    def options(state_dir: str | None) -> list[str]:
        """Returns the options that say where bottle keeps its state."""
        return ["--state-dir", state_dir] if state_dir else []

    @classmethod
    async def up(
        cls, prefix: str, config: BottleConfig, note: Callable[[Bottle], None] = lambda bottle: None
    ) -> Bottle:
        """Brings a new bottle up. `note` gets it before anything starts, so that it can be removed in any case."""
        bottle = cls(f"{prefix}-{uuid.uuid4().hex[:12]}", config)
        note(bottle)
        if config.state_dir:
            places.note(config.state_dir)
        try:
            words = ["--config", str(config.path()), "up", bottle.slug]
            called = await call([*cls.options(config.state_dir), *words])
            if called.status != 0:
                raise BottleError(called.why(), called.status)
            made = await bottle.exec(["mkdir", "-p", config.workdir], user="root", workdir="/")
            if made.status == 0 and config.user is not None:
                made = await bottle.exec(["chmod", "0777", config.workdir], user="root", workdir="/")
            if made.status != 0:
                why = made.stderr.decode(errors="replace").strip()
                raise BottleError(f"the guest could not make {config.workdir}: {why}", 75)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await bottle.remove()
            raise
        return bottle

    async def remove(self) -> None:
        """Removes it, with everything in it. It does not have to be there."""
        await remove(self.slug, self.config.state_dir)

    async def stop(self) -> None:
        """Stops its machine, and keeps everything in it: `bottle up` goes on with it."""
        called = await call([*self.options(self.config.state_dir), "stop", self.slug])
        if called.status not in (0, NO_BOTTLE):
            raise BottleError(called.why(), called.status)

    def inside(self, path: str) -> str:
        """Returns a path as the guest has it: relative to the working folder."""
        return posixpath.join(self.config.workdir, path)

    async def exec(
        self,
        command: Sequence[str],
        *,
        given: bytes | None = None,
        workdir: str | None = None,
        env: dict[str, str] | None = None,
        user: str | None = None,
        timeout: float | None = None,
        most: int | None = None,
    ) -> Done:
        """Runs a command in the guest.

        Raises TimeoutError, PermissionError, NoUserError, TooLargeError, or BottleError if the guest is not there. A
        program that is not there is a command that ended with status 127, as in a shell.
        """
        words = [*self.options(self.config.state_dir), "exec", self.slug, "--workdir", self.inside(workdir or "")]
        for name, value in (env or {}).items():
            words += ["--env", f"{name}={value}"]
        if user := user or self.config.user:
            words += ["--user", user]
        if timeout is not None:
            words += ["--timeout", f"{timeout}s"]
        if most is not None:
            words += ["--max-output", str(most)]
        called = await call([*words, "--", *command], given, report=True)
        ended = called.ended
        if ended is None:
            # The command line was wrong, or bottle was killed.
            raise BottleError(called.why(), called.status)
        how, code, message = ended["how"], ended["code"], ended["message"] or ""
        match how:
            case "timed-out":
                raise TimeoutError(f"{command[0]} took more than {timeout} s")
            case "output-limit":
                raise TooLargeError(called.stdout)
            case "not-run" if code == "no-permission":
                raise PermissionError(errno.EACCES, "Permission denied", command[0])
            case "not-run" if code == "no-user":
                raise NoUserError(message)
            case "not-run":
                return Done(ended["status"], called.stdout, called.stderr + message.encode())
            case "exited" | "interrupted":
                return Done(ended["status"], called.stdout, called.stderr)
        raise BottleError(message, ended["status"])

    async def write(self, path: str, content: bytes, user: str | None = None) -> None:
        """Writes a file, and the folders above it. Raises the errors of `open`."""
        words = ["cp", "--parents", "-", f"{self.slug}:{self.inside(path)}", *self.as_user(user)]
        called = await call([*self.options(self.config.state_dir), *words], content)
        self.check(called, path)

    async def read(self, path: str, most: int, user: str | None = None) -> bytes:
        """Reads a file. Raises the errors of `open`, and TooLargeError above `most` bytes."""
        words = ["cp", "--max-size", str(most), f"{self.slug}:{self.inside(path)}", "-", *self.as_user(user)]
        called = await call([*self.options(self.config.state_dir), *words])
        self.check(called, path)
        return called.stdout

    async def copy(self, source: str, target: str) -> None:
        """Copies a file or a folder, as `bottle cp` does: one of the two is in the guest, as `inside` names it."""
        called = await call([*self.options(self.config.state_dir), "cp", "--parents", source, target])
        self.check(called, source)

    def as_user(self, user: str | None) -> list[str]:
        """Returns the option that names a user, if one is meant."""
        user = user or self.config.user
        return ["--user", user] if user else []

    @staticmethod
    def check(called: Called, path: str) -> None:
        """Raises the error that a status stands for."""
        status = called.status
        if status == NOT_FOUND:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        if status == IS_FOLDER:
            raise IsADirectoryError(errno.EISDIR, "Is a directory", path)
        if status == NO_PERMISSION:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        if status == TOO_LARGE:
            raise TooLargeError
        if status == NO_USER:
            raise NoUserError(called.why())
        if status != 0:
            raise BottleError(called.why(), status)


async def remove(slug: str, state_dir: str | None = None) -> None:
    """Removes a bottle, with everything in it. It does not have to be there."""
    called = await call([*Bottle.options(state_dir), "rm", "--force", slug])
    if called.status not in (0, NO_BOTTLE):
        raise BottleError(called.why(), called.status)


async def named(prefix: str, state_dir: str | None = None) -> list[str]:
    """Returns the bottles that begin with a prefix, those that a crash broke among them."""
    called = await call([*Bottle.options(state_dir), "ls", "--all", "--json"])
    if called.status != 0:
        raise BottleError(called.why(), called.status)
    rows = json.loads(called.stdout)["data"]
    return [row["slug"] for row in rows if row["slug"].startswith(f"{prefix}-")]
