"""The one child process that holds the model, so that neither the event loop nor the heartbeats ever wait for torch.

An article that makes extraction fail, hang or run out of memory costs itself alone: the batch is halved until it is
found, which takes about two calls for each halving.
"""

import asyncio
import logging
import math
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Self

from services.contracts import Article
from services.extractor.mention import Extraction, ModelIdentity
from services.tether import tie_to

from .errors import StartError
from .rejection import Rejection, Stage

logger = logging.getLogger(__name__)

# Between attempts to replace a dead child whose successor does not load: memory may be short for a while.
_RESTART_WAIT_SECONDS = 5.0
# An idle child takes some tenths of a second.
_END_SECONDS = 2.0
# The deadline that is set is for a full step of the processor, which is so many characters. A book has in proportion
# more time; a short text has this share of it, since the machine may be busy with something else.
_DEADLINE_CHARS = 512 * 1024
_LEAST_SHARE = 0.25
# Linux kills the process with the highest score when memory runs out: this is the most there is.
_FIRST_VICTIM = b"1000"


class ExtractorProcess:
    """A context manager. The child ends with it, and with this process, however that ends.

    Enter it in the main thread: Linux counts the end of the thread that starts a child as the end of its parent.
    """

    model: ModelIdentity

    overdue_at = math.inf
    """When the extraction at hand is overdue, on the monotonic clock; infinite between extractions."""

    def __init__(self, model_dir: Path, *, deadline_seconds: float, on_restart: Callable[[], None]) -> None:
        self._model_dir = model_dir
        self._deadline_seconds = deadline_seconds
        self._on_restart = on_restart

    def __enter__(self) -> Self:
        self._launch()
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()  # an idle child ends by that, and tidies up after itself
        self._process.join(_END_SECONDS)
        self._process.kill()
        self._process.join()

    async def load(self) -> None:
        """Wait until the model is loaded.

        Raises:
            StartError: it cannot be.
        """
        try:
            answer = await asyncio.to_thread(self._connection.recv)
        except (EOFError, OSError) as error:
            raise StartError(f"the extractor {await self._ending()} while it loaded {self._model_dir}") from error
        if isinstance(answer, Rejection):
            raise StartError(answer.message)
        self.model = answer
        logger.info(
            "model %s %s loaded from %s (process %d)",
            self.model.name,
            self.model.revision,
            self._model_dir,
            self._process.pid,
        )

    async def extract(self, articles: Sequence[Article]) -> list[Extraction | Rejection]:
        """What was found in each article, in the order given, or why it could not be read."""
        answer = await self._ask(articles)
        if isinstance(answer, Rejection) and len(articles) == 1:
            answer = await self._ask(articles)  # again: its first child may have been killed by somebody else
        if not isinstance(answer, Rejection):
            return [*answer]
        if len(articles) == 1:
            return [answer]
        middle = len(articles) // 2
        return await self.extract(articles[:middle]) + await self.extract(articles[middle:])

    async def _ask(self, articles: Sequence[Article]) -> list[Extraction] | Rejection:
        seconds = self._deadline(articles)
        late = threading.Event()

        def kill() -> None:
            late.set()
            self._process.kill()

        # From a thread of its own: a child that hangs may not even take the articles.
        alarm = threading.Timer(seconds, kill)
        alarm.start()
        self.overdue_at = time.monotonic() + seconds
        try:
            return await asyncio.to_thread(self._exchange, articles)
        except (EOFError, OSError):
            ending = await self._ending()
        finally:
            alarm.cancel()
            self.overdue_at = math.inf
        death = f"no answer within {seconds:.0f} s" if late.is_set() else f"its process {ending}"
        logger.error("the extractor is replaced: %s", death)
        await self._replace()
        return Rejection(stage=Stage.EXTRACT, exception="ExtractorDied", message=death)

    def _deadline(self, articles: Sequence[Article]) -> float:
        """Seconds that these articles may take."""
        chars = sum(len(article.body) for article in articles)
        return self._deadline_seconds * max(_LEAST_SHARE, chars / _DEADLINE_CHARS)

    def _exchange(self, articles: Sequence[Article]) -> list[Extraction] | Rejection:
        self._connection.send(articles)
        answer: list[Extraction] | Rejection = self._connection.recv()
        return answer

    def _launch(self) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would copy the threads' locks
        self._connection, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(
            target=_serve, args=(theirs, self._model_dir, os.getpid()), name="extractor", daemon=True
        )
        self._process.start()
        theirs.close()  # else the end of the child would not end the pipe

    async def _replace(self) -> None:
        """Start a new child. One that does not load is logged and tried again: the articles wait, none is lost."""
        while True:
            self._on_restart()
            self._connection.close()
            self._launch()
            try:
                return await self.load()
            except StartError as error:
                logger.error("the extractor did not start again: %s; next try in %.0f s", error, _RESTART_WAIT_SECONDS)
                await asyncio.sleep(_RESTART_WAIT_SECONDS)

    async def _ending(self) -> str:
        """How the child ended."""
        self._process.kill()  # in case that it only closed its end
        await asyncio.to_thread(self._process.join)
        code = self._process.exitcode or 0
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"


def _serve(connection: Connection, model_dir: Path, parent: int) -> None:
    """The child: answer until the pipe ends."""
    if not tie_to(parent):
        return
    Path("/proc/self/oom_score_adj").write_bytes(_FIRST_VICTIM)
    # The parent drains when it is told to stop, and needs its child for that; it ends the child itself.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    with suppress(EOFError, ConnectionError):
        _answer(connection, model_dir)


def _answer(connection: Connection, model_dir: Path) -> None:
    """Say which model is loaded, then what each batch of articles holds. Errors cross the pipe as text: the parent has
    not the modules that define them."""
    from services.extractor.extractor import Extractor  # here: it imports torch, which the parent does without

    try:
        extractor = Extractor.load(model_dir)
    except Exception as error:
        connection.send(Rejection.of(error, stage=Stage.EXTRACT))
        return
    connection.send(extractor.model)
    while True:
        articles = connection.recv()
        try:
            answer: list[Extraction] | Rejection = extractor.extract(articles)
        except Exception as error:
            answer = Rejection.of(error, stage=Stage.EXTRACT)
        connection.send(answer)
