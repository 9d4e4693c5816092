"""How often a record was begun by a processor that then died, so that what kills processors is set aside, too.

The count lies where the group's place lies, as the metadata of its committed offset, so that the next processor finds
it wherever it runs. It counts while this process itself handles what a record holds, which takes milliseconds; whoever
kills a processor meets it in an extraction, which is another process, or waiting for Kafka. A step that earlier
processors have died of is done record by record, each with a count of its own: the one at fault is found, and after
`MOST_DEATHS` it is a dead letter.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import faust
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.types import TP, Message

logger = logging.getLogger(__name__)

# One is chance. The second time, alone, within milliseconds, is not; and before the third, `tidings up` gives up.
MOST_DEATHS = 2
_PREFIX = "begun="
# A commit takes milliseconds; four of them in a row shall not keep an outage of Kafka from being noticed.
_PATIENCE_SECONDS = 2.0


class Attempts:
    """The counts of the partitions that this process has."""

    def __init__(self, app: faust.App) -> None:
        self._app = app
        self._begun: dict[TP, tuple[int, int]] = {}

    def forget(self) -> None:
        """To be called when partitions are lost: another process counts on."""
        self._begun.clear()

    async def deaths(self, messages: Iterable[Message]) -> int:
        """How many processors at most have died of these records, told by the first of each partition."""
        firsts = _firsts(messages)
        if not self._begun.keys() >= firsts.keys():
            self._begun = dict.fromkeys(firsts, (-1, 0)) | await self._read(firsts) | self._begun
        return max(self._count(partition, offset) for partition, offset in firsts.items())

    @asynccontextmanager
    async def counted(self, messages: Sequence[Message]) -> AsyncIterator[None]:
        """Count one more for the first record of each partition; take it back when the block is left alive."""
        firsts = _firsts(messages)
        before = {partition: (offset, self._count(partition, offset)) for partition, offset in firsts.items()}
        await self._write({partition: (offset, count + 1) for partition, (offset, count) in before.items()})
        yield
        await self._write(before)

    def _count(self, partition: TP, offset: int) -> int:
        begun, count = self._begun.get(partition, (-1, 0))
        return count if begun == offset else 0

    async def _read(self, partitions: Iterable[TP]) -> dict[TP, tuple[int, int]]:
        """What earlier processors have written. aiokafka gives its users the offsets only, hence its coordinator."""
        thread = self._thread()
        fetch = thread._ensure_consumer()._coordinator.fetch_committed_offsets
        committed = await thread.call_thread(fetch, [TopicPartition(*partition) for partition in partitions])
        return {
            TP(*partition): (place.offset, int(place.metadata.removeprefix(_PREFIX)))
            for partition, place in committed.items()
            if place.metadata.startswith(_PREFIX)
        }

    async def _write(self, begun: dict[TP, tuple[int, int]]) -> None:
        self._begun |= begun
        places = {
            TopicPartition(*partition): OffsetAndMetadata(offset, f"{_PREFIX}{count}")
            for partition, (offset, count) in begun.items()
            if partition in self._app.consumer.assignment()
        }
        # While Kafka is away, the walk goes on to where it waits for Kafka and says so. A count that arrives late can
        # at worst set the group back to a record that is done, which is then done again.
        await asyncio.wait({asyncio.create_task(self._commit(places))}, timeout=_PATIENCE_SECONDS)

    async def _commit(self, places: dict[TopicPartition, OffsetAndMetadata]) -> None:
        thread = self._thread()
        try:
            await thread.call_thread(thread._ensure_consumer().commit, places)
        except KafkaError as error:  # the partitions are another's by now: what is done here will not be committed
            logger.info("not counted: %r", error)

    def _thread(self) -> Any:
        """Where Faust keeps aiokafka's consumer. Faust itself commits without metadata."""
        return cast(Any, self._app.consumer)._thread


def _firsts(messages: Iterable[Message]) -> dict[TP, int]:
    """By partition, the offset of the first of these records."""
    firsts: dict[TP, int] = {}
    for message in messages:
        firsts.setdefault(message.tp, message.offset)
    return firsts
