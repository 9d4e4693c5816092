"""The child process that holds the model, when it fails."""

import asyncio
import os
import signal
from collections.abc import Sequence

from services.contracts import Article
from services.extractor.mention import Extraction
from services.processor.extraction import ExtractorProcess
from services.processor.rejection import Rejection, Stage
from services.settings import Settings

HARMLESS = "Warplanes bombed the town of Abu Kamal in eastern Syria on Wednesday, killing nine fighters."
# A quarter of it is for a short text: enough for that on a machine under load.
DEADLINE_SECONDS = 20


class Poisoned(ExtractorProcess):
    """The real child with the real model; whatever is the word "raise", "kill" or "hang" does that to it."""

    calls = 0
    restarts = 0

    def __init__(self) -> None:
        super().__init__(
            Settings().model_dir,
            deadline_seconds=DEADLINE_SECONDS,
            on_restart=self.count_restart,
        )

    def count_restart(self) -> None:
        self.restarts += 1

    def _exchange(self, articles: Sequence[Article]) -> list[Extraction] | Rejection:
        self.calls += 1
        texts = [article.text for article in articles]
        if "raise" in texts:
            return Rejection(stage=Stage.EXTRACT, exception="RuntimeError", message="poison")
        if "kill" in texts and self._process.pid:
            os.kill(self._process.pid, signal.SIGKILL)
        if "hang" in texts and self._process.pid:
            os.kill(self._process.pid, signal.SIGSTOP)
        return super()._exchange(articles)


def test_a_poisonous_article_costs_itself_alone() -> None:
    async def scenario() -> None:
        with Poisoned() as extractor:
            await extractor.load()

            texts = [HARMLESS] * 16
            texts[11] = "raise"
            answers = await extractor.extract([Article(id=str(index), text=text) for index, text in enumerate(texts)])
            rejected = [index for index, answer in enumerate(answers) if isinstance(answer, Rejection)]
            assert rejected == [11]
            assert all(answer.mentions for answer in answers if isinstance(answer, Extraction))
            assert extractor.calls <= 2 * 4 + 2  # two for each halving of sixteen; the whole; the last try

            (answer,) = await extractor.extract([Article(id="kill", text="kill")])
            assert isinstance(answer, Rejection)
            assert answer.message == "its process was killed by SIGKILL"
            assert extractor.restarts == 2

            held, answer = await extractor.extract([Article(id="next", text=HARMLESS), Article(id="hang", text="hang")])
            assert isinstance(held, Extraction)
            assert held.mentions
            assert isinstance(answer, Rejection)
            assert answer.message == "no answer within 5 s"

            (answer,) = await extractor.extract([Article(id="next", text=HARMLESS)])
            assert isinstance(answer, Extraction)
            assert answer.mentions

    asyncio.run(scenario())
