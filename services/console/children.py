"""The processes that `up` starts beside the broker: the processor, which is kept alive, and the producer, which ends.

Each has a session of its own, so that Ctrl-C reaches `up` alone, and dies with `up`, however `up` dies.
"""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Self

import msgspec

from services.logs import printable
from services.producer import Receipt
from services.settings import Settings, variable
from services.tether import tied

from .errors import ConsoleError

logger = logging.getLogger(__name__)

# Beyond the processor's own deadline, after which it ends by itself.
_GRACE_SECONDS = 5
# A processor that has died so often in a row without finishing a batch will not do better the next time.
_MAX_DEATHS = 3
_FIRST_WAIT_SECONDS = 1.0


class ProcessorChild:
    """A context manager: the processor runs, is started again when it dies, and is drained at the end.

    `progress` is a number that grows whenever the processor has finished a batch. Left by an exception, it is killed:
    what it had not finished is read again.
    """

    def __init__(self, settings: Settings, *, log_file: Path, progress: Callable[[], int]) -> None:
        self._settings = settings
        self._log_file = log_file
        self._progress = progress
        self._deaths = 0
        self._progress_at_death = 0
        self._restart_at: float | None = None

    def __enter__(self) -> Self:
        self._log_file.parent.mkdir(exist_ok=True)
        if self._log_file.exists():  # the log is this run's; the one before is kept, since it may tell of a failure
            self._log_file.replace(self._log_file.with_suffix(".log.1"))
        self._start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._process.terminate()
            try:
                self._process.wait(self._settings.drain_seconds + _GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                logger.warning("the processor does not stop and is killed: its batch is read again next time")
        _kill(self._process)

    def watch(self) -> None:
        """To be called again and again: start the processor anew when it has died.

        Raises:
            ConsoleError: it dies again and again without finishing anything.
        """
        if self._restart_at is not None:
            if time.monotonic() >= self._restart_at:
                self._start()
        elif (status := self._process.poll()) is not None:
            progress = self._progress()
            self._deaths = 1 if progress > self._progress_at_death else self._deaths + 1
            self._progress_at_death = progress
            if self._deaths == _MAX_DEATHS:
                raise ConsoleError(
                    f"The processor has ended {_MAX_DEATHS} times without finishing anything. Its log, "
                    f"{self._log_file}, ends with: {self._last_words()}"
                )
            wait = _FIRST_WAIT_SECONDS * 2 ** (self._deaths - 1)
            logger.warning(
                "the processor has ended (status %d); it is started again in %.0f s; see %s",
                status,
                wait,
                self._log_file,
            )
            self._restart_at = time.monotonic() + wait

    def _start(self) -> None:
        self._restart_at = None
        with self._log_file.open("ab") as log:
            self._process = _spawn(self._settings, "process", stdout=log, stderr=log)

    def _last_words(self) -> str:
        lines = self._log_file.read_text(errors="replace").split("\n")
        return printable(next((line for line in reversed(lines) if line.strip()), "(nothing)"))


class ProducerChild:
    """A context manager: the producer publishes the sources and ends; its messages go to our standard error."""

    def __init__(self, settings: Settings, *, sources: Path, changed_only: bool) -> None:
        self._settings = settings
        self._arguments = ["produce", str(sources), *(["--changed-only"] if changed_only else [])]

    def __enter__(self) -> Self:
        self._process = _spawn(self._settings, *self._arguments, stdout=subprocess.PIPE)
        return self

    def __exit__(self, *_: object) -> None:
        _kill(self._process)

    def receipt(self) -> Receipt | None:
        """What it published; None while it is at it.

        Raises:
            ConsoleError: it ended without saying.
        """
        if self._process.poll() is None:
            return None
        assert self._process.stdout
        output = self._process.stdout.read()
        if not output:
            raise ConsoleError("The articles could not be published; the producer's message above says why.")
        return msgspec.json.decode(output, type=Receipt)


def _spawn(
    settings: Settings, *arguments: str, stdout: IO[bytes] | int, stderr: IO[bytes] | None = None
) -> subprocess.Popen[bytes]:
    """`tidings ARGUMENTS` with these settings, in a session of its own, tied to this process."""
    given = {variable(name): str(value) for name, value in settings if value is not None}
    # -P: a folder named `services` where the user happens to be is not ours.
    command = [sys.executable, "-P", "-m", "services.cli", *arguments]
    return subprocess.Popen(
        tied(*command),
        env=os.environ | given,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
    )


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End it, if it has not ended, and collect it. The processor's own child ends with it."""
    with process:
        process.kill()
