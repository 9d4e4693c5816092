"""The Faust app that joins the rooms: one stream, one loop.

The walk of a batch, in this order and no other:

1. Take records off the articles topic, with `noack_take`: Faust acknowledges nothing by itself.
2. Read each: an article, a reason to skip it, or a rejection. Meanwhile, and in 4, the attempt is counted in Kafka, so
   that what processors die of is set aside in the end.
3. Extract the articles in the child process.
4. Assemble the events.
5. Publish the events, and the dead letters of what was rejected, and wait until Kafka has confirmed every one of them,
   however long it takes.
6. Acknowledge the records, in their order and without a pause between them.
7. Commit.

Whatever stops the walk before 6, a crash or a cancellation, acknowledges nothing: the records are read again, and their
events, whose ids are a function of article and trigger, are published again under the same ids. No exception of an
article leaves the walk, and none of Kafka's: the one is a dead letter, the other is waited for; any other is a defect,
and ends the process. Every batch is done with before the next one is taken, so that what is acknowledged is always a
contiguous prefix of its partition.

Told to stop, the processor is no longer ready, takes nothing more, finishes what it has taken, leaves the group and
ends with status 0. Past the deadline it ends at once with status 1, wherever it is, and acknowledges nothing more.
"""

import asyncio
import logging
import os
import signal
import threading
import time
from collections.abc import Coroutine, Iterator, Sequence
from itertools import repeat
from tempfile import TemporaryDirectory
from typing import Any, cast

import faust
from faust.types import TP, EventT, Message, StreamT
from kafka import KafkaAdminClient
from prometheus_client import CollectorRegistry

from services.clients.kafka import KafkaUnavailableError, client_options, faust_options, reachable_kafka
from services.clients.topics import ARTICLES_TOPIC, TOPICS
from services.contracts import Article, Event
from services.settings import Settings

from .assemble import assembled
from .attempts import MOST_DEATHS, Attempts
from .dead_letters import dead_letter
from .errors import StartError
from .extraction import ExtractorProcess
from .health import Health, served
from .intake import Skip, read
from .metrics import Metrics
from .publish import event_record, publish
from .rejection import Rejection, Stage

logger = logging.getLogger(__name__)

# Records are extracted, published and committed by so many bytes at a time: about a hundred news articles, or one
# book. More at a time is not faster, and would keep events waiting and memory full.
_STEP_BYTES = 512 * 1024
# After a kill, the partitions of a processor wait as long as this for another one. Heartbeats have a thread of their
# own, so that a long extraction does not miss them.
_SESSION_SECONDS = 10.0
_HEARTBEAT_SECONDS = 3.0
# A rebalance waits for a member that finishes its batch: for a book on a slow processor.
_REBALANCE_SECONDS = 300.0
# A member that takes nothing for so long leaves the group: longer than any batch.
_MAX_POLL_SECONDS = 1800.0
# Kafka's own client gives a send up after this; ours then says so and tries again.
_SEND_SECONDS = 30.0
_LAG_SECONDS = 5.0


def run_processor(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT, then finish the batch at hand, commit and leave the group. The exit status."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    health = Health(stuck_seconds=settings.stuck_seconds)
    try:
        _require_topics(settings.bootstrap_servers)
        with (
            served(registry, health, host=settings.metrics_host, port=settings.metrics_port),
            TemporaryDirectory(prefix="tidings-") as datadir,  # faust wants a folder, and keeps nothing there
        ):
            asyncio.run(_run(settings, datadir, metrics, health))
    except (StartError, KafkaUnavailableError) as error:
        logger.error("%s", error)
        return 1
    except Exception:
        logger.exception("the processor ends; what it had not finished is read again at its next start")
        return 1
    return 0


def _require_topics(bootstrap_servers: str) -> None:
    with reachable_kafka(bootstrap_servers), KafkaAdminClient(**client_options(bootstrap_servers)) as admin:
        missing = {topic.name for topic in TOPICS} - set(admin.list_topics())
    if missing:
        raise StartError(
            f"Kafka at {bootstrap_servers} has no topic {', '.join(sorted(missing))}. `tidings produce` creates the "
            "topics; so do Kafka's own tools."
        )


async def _run(settings: Settings, datadir: str, metrics: Metrics, health: Health) -> None:
    stop = asyncio.Event()
    # A thread: Faust's own stop waits for Kafka as long as Kafka is away, and cannot be cancelled.
    deadline = threading.Timer(settings.drain_seconds, _end_undrained, [settings.drain_seconds])
    deadline.daemon = True

    def stop_once() -> None:
        if not stop.is_set():
            logger.info("stopping")
            health.stopping = True
            stop.set()
            deadline.start()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop_once)
    beating = asyncio.create_task(health.beat())
    with ExtractorProcess(
        settings.model_dir,
        deadline_seconds=settings.extraction_seconds,
        on_restart=metrics.extractor_restarts.inc,
    ) as extractor:
        health.overdue_at = lambda: extractor.overdue_at
        # The model comes first: partitions are not held by a processor that cannot read yet.
        await _until(stop, extractor.load())
        if stop.is_set():
            return
        health.model_loaded = True
        model = extractor.model
        metrics.model_info.labels(model.name, model.revision, model.taxonomy_version).set(1)
        app = create_app(settings, datadir, extractor, metrics, health)
        try:
            await _until(stop, app.start())
            await app.wait(stop.wait())  # or until the app crashes
        finally:
            await app.stop()
    beating.cancel()
    deadline.cancel()
    if app.crash_reason:
        raise app.crash_reason


def _end_undrained(seconds: float) -> None:
    """End this process where it is, and with it the extractor, which is tied to it."""
    logger.error("not drained within %.0f s: what is unfinished is read again at the next start", seconds)
    logging.shutdown()
    os._exit(1)


async def _until(stop: asyncio.Event, work: Coroutine[Any, Any, Any]) -> None:
    """Do the work; cancel it when a stop is asked for."""
    task, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if task.done():
        task.result()
    else:
        task.cancel()
        await asyncio.wait({task})


def create_app(
    settings: Settings, datadir: str, extractor: ExtractorProcess, metrics: Metrics, health: Health
) -> faust.App:
    """The app with its one agent. Every setting that is named here has a default of Faust's that would not do."""
    app = faust.App(
        settings.consumer_group,
        **faust_options(settings.bootstrap_servers),
        datadir=datadir,
        web_enabled=False,
        worker_redirect_stdouts=False,
        topic_allow_declare=False,  # topics are created on purpose
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
        stream_wait_empty=True,  # a stop finishes what was taken
        stream_buffer_maxsize=settings.batch_articles,  # 4,096 articles in memory otherwise
        broker_max_poll_records=settings.batch_articles,
        broker_session_timeout=_SESSION_SECONDS,
        broker_heartbeat_interval=_HEARTBEAT_SECONDS,
        broker_rebalance_timeout=_REBALANCE_SECONDS,
        broker_max_poll_interval=_MAX_POLL_SECONDS,
        producer_request_timeout=_SEND_SECONDS,
    )
    articles = app.topic(ARTICLES_TOPIC, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
    processor = Processor(app, extractor, metrics)

    @app.agent(articles, name="processor", concurrency=1)
    async def process(values: StreamT[bytes]) -> None:
        stream = cast("faust.Stream[EventT[bytes]]", values)  # `noack_take` yields events, whatever it is annotated
        # `noack_take` restores this when it is left; what is still on its way would then be acknowledged unread.
        stream.enable_acks = False
        try:
            async for events in stream.noack_take(settings.batch_articles, within=settings.batch_wait_seconds):
                await processor.process(stream, events)
        except Exception as error:
            # A defect of ours. Left alone, Faust would start the agent again and go on after the batch at hand.
            await app.crash(error)
        except asyncio.CancelledError:
            # Not passed on: Faust would start the agent again, here too, and even commit over a batch of one.
            if not app.should_stop:
                await app.crash(RuntimeError("the walk was cancelled"))

    app.timer(interval=_LAG_SECONDS)(processor.report_lag)

    @app.on_partitions_assigned.connect
    async def join(*_: object, **__: object) -> None:
        health.joined = True

    @app.on_partitions_revoked.connect
    async def forget(*_: object, **__: object) -> None:
        processor.forget()

    return app


class Processor:
    """The walk. `committed` is, by partition of this process, the offset that the group goes on from."""

    def __init__(self, app: faust.App, extractor: ExtractorProcess, metrics: Metrics) -> None:
        self._app = app
        self._attempts = Attempts(app)
        self._extractor = extractor
        self._metrics = metrics
        self.committed: dict[TP, int] = {}

    def forget(self) -> None:
        """The partitions are others' now, or will be had anew."""
        self.committed.clear()
        self._attempts.forget()

    async def process(self, stream: faust.Stream[EventT[bytes]], events: Sequence[EventT[bytes]]) -> None:
        """Steps 2 to 7, for a few records at a time; for one at a time where a processor has died before."""
        self._metrics.articles_in_flight.inc(len(events))
        for event in events:
            self.committed.setdefault(event.message.tp, event.message.offset)
        for records in _steps(events):
            died = await self._attempts.deaths(event.message for event in records)
            for step in ([event] for event in records) if died else (records,):
                await self._walk(stream, step)

    async def _walk(self, stream: faust.Stream[EventT[bytes]], step: Sequence[EventT[bytes]]) -> None:
        results = await self._results([event.message for event in step])
        records = []
        for event, result in zip(step, results, strict=True):
            if isinstance(result, Rejection):
                tp, offset = event.message.tp, event.message.offset
                logger.warning("dead letter: partition %d, offset %d: %s", tp.partition, offset, result)
                records.append(dead_letter(event.message, result))
            elif not isinstance(result, Skip):
                records.extend(map(event_record, result))
        await publish(self._app.producer, records, self._metrics)
        for event in step:
            await stream.ack(event)  # does not give way to another task
        await self._app.consumer.commit()
        self._count(step, results)
        await self.report_lag()

    async def _results(self, messages: Sequence[Message]) -> list[list[Event] | Skip | Rejection]:
        """What becomes of each record: its events, a reason to skip it, or a rejection."""
        died = await self._attempts.deaths(messages)
        if died >= MOST_DEATHS:  # then it is one record
            return [Rejection(stage=Stage.READ, exception="ProcessorDied", message=f"{died} processors died of it")]
        async with self._attempts.counted(messages):
            readings = [read(message.value) for message in messages]
        articles = [reading for reading in readings if isinstance(reading, Article)]
        if not articles:
            return [reading for reading in readings if not isinstance(reading, Article)]
        self._metrics.batch_articles.observe(len(articles))
        with self._metrics.extraction_seconds.time():
            extractions = await self._extractor.extract(articles)
        async with self._attempts.counted(messages):
            found = map(assembled, articles, extractions, repeat(self._extractor.model))
            return [next(found) if isinstance(reading, Article) else reading for reading in readings]

    def _count(self, step: Sequence[EventT[bytes]], results: Sequence[list[Event] | Skip | Rejection]) -> None:
        metrics = self._metrics
        metrics.articles_in_flight.dec(len(step))
        now = time.time()
        for event, result in zip(step, results, strict=True):
            self.committed[event.message.tp] = event.message.offset + 1
            metrics.article_age_seconds.observe(max(0.0, now - event.message.timestamp))
            if isinstance(result, Rejection):
                metrics.articles.labels("dead_lettered").inc()
                metrics.dead_letters.labels(result.stage.value).inc()
            elif isinstance(result, Skip):
                metrics.articles.labels(result.value).inc()
            else:
                metrics.articles.labels("extracted").inc()
                for found in result:
                    metrics.events.labels(found.type).inc()

    async def report_lag(self) -> None:
        """Set the lag of the partitions that this process has; those that it lost are no longer reported."""
        consumer = self._app.consumer
        self._metrics.consumer_lag.clear()
        for partition in consumer.assignment():
            end = consumer.highwater(partition)
            if end is not None:
                lag = end - self.committed.get(partition, end)
                self._metrics.consumer_lag.labels(str(partition.partition)).set(lag)


def _steps(events: Sequence[EventT[bytes]]) -> Iterator[list[EventT[bytes]]]:
    """Consecutive records of about `_STEP_BYTES` together."""
    step: list[EventT[bytes]] = []
    size = 0
    for event in events:
        length = len(event.message.value or b"")
        if step and size + length > _STEP_BYTES:
            yield step
            step, size = [], 0
        step.append(event)
        size += length
    if step:
        yield step
