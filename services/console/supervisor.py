"""`tidings up`: broker, topics, processor, producer and tail under one parent, started and stopped in order."""

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from kafka import KafkaAdminClient
from kafka.errors import RetriableError

from services.broker import BrokerError, EmbeddedBroker
from services.broker.guards import require_free, sole_user
from services.clients.kafka import KafkaUnavailableError, client_options, create_topics
from services.clients.topics import ARTICLES_TOPIC, TOPICS
from services.producer import Receipt
from services.settings import Settings

from .children import ProcessorChild, ProducerChild
from .errors import ConsoleError
from .table import EventTable
from .tail import Tail, show_json

# How long a look at the events may keep the supervisor from looking after its children.
_POLL_SECONDS = 0.2
# What a shell reports of a program that Ctrl-C ended.
_INTERRUPTED = 130

EXPECTED_ERRORS = (ConsoleError, BrokerError, KafkaUnavailableError)
"""What keeps `up` from starting or going on. Their text says what to do."""

Committed = dict[int, int]
"""By partition of the articles topic, the offset that the processor's group goes on from."""


def up(settings: Settings, *, once: bool, as_json: bool, replay: bool) -> int:
    """Publish the seeds and show all events until Ctrl-C or SIGTERM; with `once`, until the seeds are done.

    The exit status: 130 if `once` was interrupted, 1 if an article was refused, else 0.

    Raises:
        one of `EXPECTED_ERRORS`
    """
    began = time.monotonic()
    receipt = None
    with _interruptible() as interrupted, sole_up(settings.data_dir), _kafka(settings) as broker:
        settings = settings.model_copy(update={"kafka_bootstrap_servers": settings.bootstrap_servers})
        create_topics(settings.bootstrap_servers, partitions=settings.partitions)
        log_file = settings.data_dir / "logs" / "processor.log"
        _announce(settings, log_file)
        show = show_json if as_json else EventTable().show
        with (
            Tail(settings.bootstrap_servers, from_start=True) as tail,
            KafkaAdminClient(**client_options(settings.bootstrap_servers)) as admin,
        ):

            def committed() -> Committed:
                return _committed(admin, settings.consumer_group)

            with (
                ProcessorChild(settings, log_file=log_file, progress=lambda: sum(committed().values())) as processor,
                ProducerChild(settings, sources=settings.seeds_dir, changed_only=not replay) as producer,
                suppress(KeyboardInterrupt),
            ):
                while not (
                    interrupted.is_set() or (once and receipt and _is_done(receipt, committed()) and tail.at_end())
                ):
                    for arrival in tail.poll(_POLL_SECONDS):
                        show(arrival)
                    _require_running(broker)
                    processor.watch()
                    receipt = receipt or producer.receipt()
            # What the processor finished while it was drained.
            while not tail.at_end():
                for arrival in tail.poll(_POLL_SECONDS):
                    show(arrival)
        _say(_summary(receipt, tail.arrived, time.monotonic() - began))
    if once and interrupted.is_set():
        return _INTERRUPTED
    return 1 if receipt and receipt.refused else 0


def sole_up(data_dir: Path) -> AbstractContextManager[None]:
    """Hold the data folder, so that a second `up` on it is refused, whichever Kafka it is to use."""
    return sole_user(data_dir, lock="up.lock", holder="`tidings up`")


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """The first Ctrl-C or SIGTERM sets the event and interrupts what is done; those after it are ignored.

    The interruption ends a long start. The event is there because Python drops an exception that meets a destructor.
    """
    interrupted = threading.Event()

    def interrupt(*_: object) -> None:
        if not interrupted.is_set():
            interrupted.set()
            raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    with suppress(KeyboardInterrupt):
        yield interrupted


@contextmanager
def _kafka(settings: Settings) -> Iterator[EmbeddedBroker | None]:
    """The embedded broker, unless another Kafka is set. What would stop `up` later is looked at before it starts."""
    require_free(settings.metrics_host, settings.metrics_port, variable="TIDINGS_METRICS_PORT")
    if settings.kafka_bootstrap_servers:
        yield None
    else:
        with EmbeddedBroker(data_dir=settings.data_dir, port=settings.broker_port) as broker:
            yield broker


def _require_running(broker: EmbeddedBroker | None) -> None:
    if broker and (status := broker.poll()) is not None:
        raise ConsoleError(
            f"Kafka has ended (status {status}); {broker.log_file} says why. Start again: what Kafka had confirmed "
            "is kept."
        )


def _committed(admin: KafkaAdminClient, group: str) -> Committed:
    try:
        offsets = admin.list_group_offsets(group)[group]
    except RetriableError:  # Kafka has just started, or is away for a moment: nothing is known to be committed
        return {}
    return {
        partition.partition: offset.offset for partition, offset in offsets.items() if partition.topic == ARTICLES_TOPIC
    }


def _is_done(receipt: Receipt, committed: Committed) -> bool:
    """Whether the processor has passed the last article of the producer's run."""
    return all(committed.get(partition, 0) >= end for partition, end in receipt.end_offsets.items())


def _announce(settings: Settings, log_file: Path) -> None:
    host = f"[{settings.metrics_host}]" if ":" in settings.metrics_host else settings.metrics_host
    _say(f"Kafka      {settings.bootstrap_servers}  topics {', '.join(topic.name for topic in TOPICS)}")
    _say(f"metrics    http://{host}:{settings.metrics_port}/metrics")
    _say(f"processor  logs to {log_file}")
    _say("Ctrl-C stops.")


def _summary(receipt: Receipt | None, events: int, seconds: float) -> str:
    if receipt is None:
        articles = "stopped before all articles were published"
    else:
        articles = (
            f"{receipt.published + receipt.unchanged} articles ({receipt.published} of them published now), "
            f"{receipt.refused} refused"
        )
    return f"{articles}, {events} events, {seconds:.1f} s"


def _say(line: str) -> None:
    """To standard error: standard output is for events."""
    print(line, file=sys.stderr, flush=True)
