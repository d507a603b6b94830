"""Talk with somebody else's kernel: run code within limits, and listen."""

from __future__ import annotations

import queue
import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.connect import write_connection_file
from nbformat.v4 import new_output, output_from_msg

from grader import guard
from grader.sandbox import Kernel, Limits

START_SECONDS = 60.0
MOST_OUTPUTS = 50
SHOWN = ("stream", "display_data", "execute_result", "error")


class Said(NamedTuple):
    """What came of running some code.

    Attributes:
        status: "ok", "error", or why it did not end by itself.
        outputs: As a notebook stores them.
    """

    status: str
    outputs: list[Any]


class Talk:
    """A conversation with one kernel."""

    def __init__(self, kernel: Kernel, client: BlockingKernelClient) -> None:
        self.kernel, self.client = kernel, client

    def run(
        self, code: str, *, history: bool = True, seconds: float | None = None
    ) -> Said:
        """Run code until it ends, or passes a limit and is interrupted."""
        if self.kernel.ended:
            return Said(f"not run: {self.kernel.ended}", [])
        message = self.client.execute(code, store_history=history, stop_on_error=False)
        outputs, stopped = self.listen(message, seconds)
        if stopped and not self.interrupt(message):
            self.kernel.end(stopped)
        if stopped or self.kernel.ended:
            return Said(stopped or f"not finished: {self.kernel.ended}", outputs)
        reply = self.reply(message, seconds=10)
        return Said((reply or {}).get("status", "no answer from the kernel"), outputs)

    def listen(self, message: str, seconds: float | None) -> tuple[list[Any], str]:
        """Return the outputs of a message, and the limit that it passed, if any."""
        limits, outputs, size = self.kernel.limits, [], 0
        seconds = seconds or limits.cell_seconds
        deadline = time.monotonic() + seconds
        while not self.kernel.ended:
            if time.monotonic() > deadline:
                return outputs, f"it ran longer than {seconds:.0f} s"
            if size > 1e3 * limits.output_kb or len(outputs) > MOST_OUTPUTS:
                return outputs[:MOST_OUTPUTS], "it printed more than fits on a page"
            found = self.receive(message)
            if found == "idle":
                break
            if isinstance(found, dict):
                outputs = joined(outputs, new_output(**found))
                size += len(str(found))
        return outputs, ""

    def receive(self, message: str) -> Any:
        """Return an output of this message, "idle" at its end, or None."""
        try:
            found = self.client.get_iopub_msg(timeout=0.2)
        except (queue.Empty, ValueError):
            return None
        if found["parent_header"].get("msg_id") != message:
            return None
        kind = found["msg_type"]
        if kind == "status" and found["content"].get("execution_state") == "idle":
            return "idle"
        return dict(output_from_msg(found)) if kind in SHOWN else None

    def reply(self, message: str, *, seconds: float) -> dict[str, Any] | None:
        """Return the content of the answer to a message, or None if none comes."""
        deadline = time.monotonic() + seconds
        while not self.kernel.ended and time.monotonic() < deadline:
            try:
                found = self.client.get_shell_msg(timeout=0.2)
            except (queue.Empty, ValueError):
                continue
            if found["parent_header"].get("msg_id") == message:
                return dict(found["content"])
        return None

    def interrupt(self, message: str) -> bool:
        """Interrupt a cell; return whether the kernel is ready again."""
        control = self.client.control_channel
        control.send(self.client.session.msg("interrupt_request", {}))
        return self.reply(message, seconds=5) is not None

    def state(self) -> dict[str, object] | None:
        """Return the identities of what checks rely on, as the kernel tells them."""
        if self.kernel.ended:
            return None
        expressions = {"state": guard.expression()}
        message = self.client.execute("", silent=True, user_expressions=expressions)
        reply = self.reply(message, seconds=20) or {}
        answer = reply.get("user_expressions", {}).get("state", {})
        return guard.parsed(answer.get("data", {}).get("text/plain", ""))


def joined(outputs: list[Any], new: Any) -> list[Any]:
    """Return the outputs with one more; text of the same stream is put together."""
    last = outputs[-1] if outputs else {}
    if new.output_type == "stream" and last.get("name") == new.name:
        last.text += new.text
        return outputs
    return [*outputs, new]


@contextmanager
def started(limits: Limits, *, trusted: bool) -> Iterator[Talk]:
    """Start a kernel behind walls; end it and remove its folder afterwards."""
    with tempfile.TemporaryDirectory(
        prefix="effdl-", ignore_cleanup_errors=True
    ) as folder:
        connection = Path(folder, "kernel.json")
        write_connection_file(
            str(connection), transport="ipc", ip=str(Path(folder, "k")),
            key=secrets.token_hex(32).encode(),
        )  # fmt: skip
        kernel = Kernel(connection, limits, trusted=trusted)
        client = BlockingKernelClient(connection_file=str(connection))
        client.load_connection_file()
        client.start_channels()
        try:
            wait_until_ready(kernel, client)
            yield Talk(kernel, client)
        finally:
            kernel.end("done")
            client.stop_channels()


def wait_until_ready(kernel: Kernel, client: BlockingKernelClient) -> None:
    """Wait for the first answer.

    Raises:
        RuntimeError: If none comes.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and not kernel.ended:
        try:
            client.wait_for_ready(timeout=1)
        except RuntimeError:
            continue
        return
    raise RuntimeError(f"the kernel did not start: {kernel.ended or 'no answer'}")
