"""What Inspect's checks do not ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
import pytest_asyncio
from inspect_ai.util import OutputLimitExceededError, SandboxUnavailableError
from inspect_ai.util._sandbox.limits import override_max_exec_output_size

from bottle_sandbox import BottleConfig, command, places
from bottle_sandbox.inspect import PREFIX, BottleSandboxEnvironment


@pytest_asyncio.fixture(scope="module")
async def box() -> AsyncIterator[BottleSandboxEnvironment]:
    environments = await BottleSandboxEnvironment.sample_init("test", None, {})
    yield environments["default"].as_type(BottleSandboxEnvironment)
    await BottleSandboxEnvironment.sample_cleanup("test", None, environments, False)


async def running(box: BottleSandboxEnvironment, seconds: str) -> int:
    """Returns how many processes of the guest are a `sleep` of so many seconds: not the shells that name one."""
    script = 'n=0; for f in /proc/[0-9]*/cmdline; do case $(tr "\\0" " " < $f) in "sleep $0"*) n=$((n+1));; esac; done; echo $n'
    done = await box.exec(["sh", "-c", script, seconds])
    assert done.success, done
    return int(done.stdout)


async def test_a_timeout_ends_a_child_that_was_really_started(box: BottleSandboxEnvironment) -> None:
    """The check of this name in Inspect's suite cannot fail: a `#` in its script keeps its child from starting."""
    script = "sleep 4321.5 & (setsid sleep 4321.6 &) ; sleep 4321.7"
    seen = 0

    async def look() -> None:
        nonlocal seen
        for _ in range(100):
            seen = max(seen, await running(box, "4321."))
            if seen >= 3:
                return
            await anyio.sleep(0.1)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look)
        with pytest.raises(TimeoutError):
            await box.exec(["sh", "-c", script], timeout=15)
    assert seen == 3, "the children were never there"
    assert await running(box, "4321.") == 0


async def test_a_cancelled_command_is_ended_in_the_guest(box: BottleSandboxEnvironment) -> None:
    with anyio.move_on_after(3) as scope:
        await box.exec(["sh", "-c", "sleep 4322.5 & sleep 4322.6"])
    assert scope.cancelled_caught
    assert await running(box, "4322.") == 0


async def test_output_above_the_limit_ends_the_command(box: BottleSandboxEnvironment) -> None:
    with override_max_exec_output_size(2048):
        with pytest.raises(OutputLimitExceededError) as error:
            await box.exec(["sh", "-c", "yes; sleep 4323.5"])
        assert error.value.truncated_output == "y\n" * 1024
        assert (await box.exec(["sh", "-c", "yes | head -c 2048"])).stdout == "y\n" * 1024
    assert await running(box, "4323.") == 0


async def test_a_status_of_bottles_own_is_the_commands_if_it_has_it(box: BottleSandboxEnvironment) -> None:
    for status in (2, 66, 69, 75, 77, 124, 126, 127):
        done = await box.exec(["sh", "-c", f"exit {status}"])
        assert (done.returncode, done.stderr) == (status, "")
    assert (await box.exec(["no-such-program"])).returncode == 127
    assert "nowhere" in (await box.exec(["true"], cwd="/nowhere")).stderr


async def test_a_bottle_that_is_gone_is_an_unavailable_sandbox() -> None:
    environments = await BottleSandboxEnvironment.sample_init("test", None, {})
    await BottleSandboxEnvironment.sample_cleanup("test", None, environments, True)
    with pytest.raises(SandboxUnavailableError, match="not running|no bottle"):
        await environments["default"].exec(["true"])
    with pytest.raises(SandboxUnavailableError):
        await environments["default"].read_file("file")


async def test_a_sample_that_is_cancelled_while_it_starts_leaves_nothing() -> None:
    before = await command.named(PREFIX)
    known = set(BottleSandboxEnvironment._up)
    task = asyncio.create_task(BottleSandboxEnvironment.sample_init("test", None, {}))
    while set(BottleSandboxEnvironment._up) == known:
        await asyncio.sleep(0)
    # The command is under way, and takes longer than this.
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await command.named(PREFIX) == before


async def test_a_bottle_toml_gives_each_sample_a_copy_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "bottle.toml").write_text("[workspace]\nmode = \"copy\"\n")
    (tmp_path / "data").write_text("given\n")
    config = str(tmp_path / "bottle.toml")
    both = [await BottleSandboxEnvironment.sample_init("test", config, {}) for _ in range(2)]
    boxes = [environments["default"] for environments in both]
    await boxes[0].write_file("data", "changed\n")
    assert [await box.read_file("data") for box in boxes] == ["changed\n", "given\n"]
    assert (tmp_path / "data").read_text() == "given\n"
    for environments in both:
        await BottleSandboxEnvironment.sample_cleanup("test", config, environments, False)


async def test_a_cleanup_finds_a_bottle_with_a_state_folder_of_its_own(tmp_path: Path) -> None:
    place = str(tmp_path / "node")
    await BottleSandboxEnvironment.sample_init("test", BottleConfig(state_dir=place), {})
    [slug] = await command.named(PREFIX, place)
    assert slug not in await command.named(PREFIX)
    await BottleSandboxEnvironment.cli_cleanup(f"{PREFIX}-other")
    assert await command.named(PREFIX, place) == [slug]
    await BottleSandboxEnvironment.cli_cleanup(slug)
    assert await command.named(PREFIX, place) == []
    assert place not in places.known()


async def test_the_guest_has_no_network_but_its_doors(box: BottleSandboxEnvironment) -> None:
    script = "curl -sS -m 5 -o /dev/null -w '%{http_code}' http://other.test/; curl -x '' -m 5 http://192.0.2.1/ 2>&1"
    done = await box.exec(["sh", "-c", script])
    assert done.stdout.startswith("403"), done
    assert "(7)" in done.stdout, done


def test_the_file_that_the_fields_make_is_one_that_bottle_reads() -> None:
    text = BottleConfig(image='a"b', allow=("example.com",), memory=512).text()
    assert 'image = "a\\"b"' in text and 'allow = ["example.com"]' in text
