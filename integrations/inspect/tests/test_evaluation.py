"""Evaluations, end to end, with Inspect's mock model and its tools, and what is left of them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from inspect_ai import Task, eval_async
from inspect_ai.dataset import Sample
from inspect_ai.model import ChatMessage, ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import includes
from inspect_ai.solver import Generate, Solver, TaskState, generate, solver, use_tools
from inspect_ai.tool import bash, python
from inspect_ai.util import sandbox

from bottle_sandbox import command
from bottle_sandbox.inspect import PREFIX

USAGE = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)


def told(output: ModelOutput) -> ModelOutput:
    """Returns an output that says what it cost, so that nobody looks for a tokenizer."""
    output.usage = USAGE
    return output


def tool(name: str, **arguments: str) -> ModelOutput:
    return told(ModelOutput.for_tool_call("mockllm/model", name, dict(arguments)))


def answers(input: list[ChatMessage], *_: object) -> ModelOutput:
    """Says what the model says to a sample: it uses two tools, and then answers with what they said."""
    used = [message for message in input if message.role == "tool"]
    if not used:
        return tool("bash", command="echo $((6 * 7)) > answer && cat question")
    if len(used) == 1:
        return tool("python", code="print(open('question').read().strip(), open('answer').read().strip())")
    return told(ModelOutput.from_content("mockllm/model", f"it is {used[1].text.strip()}"))


async def test_an_evaluation_with_tools_in_parallel() -> None:
    samples = [
        Sample(input=f"what? {number}", target=f"it is {number} 42", files={"question": f"{number}\n"})
        for number in range(4)
    ]
    task = Task(
        dataset=samples,
        solver=[use_tools(bash(timeout=60), python(timeout=60)), generate()],
        scorer=includes(),
        sandbox="bottle",
    )
    model = get_model("mockllm/model", custom_outputs=answers)
    (log,) = await eval_async(task, model=model, max_sandboxes=2)
    assert log.status == "success", log.error
    assert log.results is not None and log.results.scores[0].metrics["accuracy"].value == 1.0
    assert await command.named(PREFIX) == []


@solver
def meets(parties: int) -> Solver:
    """Waits until as many samples as there may be at once are in their sandboxes."""
    here: set[int] = set()

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        done = await sandbox().exec(["sh", "-c", "hostname; cat /proc/sys/kernel/random/boot_id"])
        assert done.success
        here.add(int(state.sample_id))
        end = time.monotonic() + 60
        while len(here) < parties and time.monotonic() < end:
            await asyncio.sleep(0.05)
        state.output = told(ModelOutput.from_content("mockllm/model", f"met {len(here) >= parties}"))
        return state

    return solve


async def test_as_many_sandboxes_as_allowed_are_up_at_once() -> None:
    samples = [Sample(id=number, input="x", target="met True") for number in range(3)]
    task = Task(dataset=samples, solver=meets(3), scorer=includes(), sandbox="bottle")
    (log,) = await eval_async(task, model="mockllm/model", max_sandboxes=3)
    assert log.status == "success", log.error
    assert log.results is not None and log.results.scores[0].metrics["accuracy"].value == 1.0
    assert await command.named(PREFIX) == []


@solver
def breaks() -> Solver:
    async def solve(state: TaskState, generate: Generate) -> TaskState:
        await sandbox().exec(["true"])
        raise RuntimeError("as it should")

    return solve


async def test_a_sample_that_fails_leaves_nothing() -> None:
    task = Task(dataset=[Sample(input="x", target="y")], solver=breaks(), sandbox="bottle")
    (log,) = await eval_async(task, model="mockllm/model")
    assert log.status == "error"
    assert await command.named(PREFIX) == []


SLEEPER = """
import sys
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.solver import solver
from inspect_ai.util import sandbox

@solver
def sleeps():
    async def solve(state, generate):
        await sandbox().exec(["sh", "-c", "echo up > up"])
        open(sys.argv[1], "a").write("up\\n")
        await sandbox().exec(["sleep", "4711"])
        return state
    return solve

samples = [Sample(input=str(number), target="y") for number in range(2)]
eval(Task(dataset=samples, solver=sleeps(), sandbox="bottle"), model="mockllm/model", max_sandboxes=2)
"""


@pytest.fixture
def sleeper(tmp_path: Path) -> subprocess.Popen[bytes]:
    """Starts an evaluation whose two samples sleep, and returns once both do."""
    up = tmp_path / "up"
    process = subprocess.Popen(
        [sys.executable, "-c", SLEEPER, str(up)], cwd=tmp_path, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 120
    while not (up.exists() and up.read_text() == "up\nup\n"):
        assert time.monotonic() < end and process.poll() is None, "the samples did not start"
        time.sleep(0.1)
    return process


async def test_a_cancelled_evaluation_leaves_nothing(sleeper: subprocess.Popen[bytes]) -> None:
    assert len(await command.named(PREFIX)) == 2
    os.kill(sleeper.pid, signal.SIGINT)
    await asyncio.to_thread(sleeper.wait, 90)
    assert await command.named(PREFIX) == []


async def test_what_a_killed_evaluation_leaves_is_cleaned_up(sleeper: subprocess.Popen[bytes]) -> None:
    os.kill(sleeper.pid, signal.SIGKILL)
    await asyncio.to_thread(sleeper.wait, 90)
    slugs = await command.named(PREFIX)
    assert len(slugs) == 2
    inspect = Path(sys.executable).with_name("inspect")

    def cleanup(*words: str) -> subprocess.CompletedProcess[str]:
        line = [str(inspect), "sandbox", "cleanup", "bottle", *words]
        return subprocess.run(line, capture_output=True, text=True, timeout=120)

    one = await asyncio.to_thread(cleanup, slugs[0])
    assert one.returncode == 0, one
    assert await command.named(PREFIX) == slugs[1:]
    rest = await asyncio.to_thread(cleanup)
    assert rest.returncode == 0, rest
    assert await command.named(PREFIX) == []
