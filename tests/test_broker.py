"""The embedded broker: real Kafka, started, stopped, killed, refused."""

import functools
import http.server
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from jgo.maven import _core as jgo_core
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from services.broker import BrokerError, EmbeddedBroker, free_port
from services.broker.jars import JARS_DIR, kafka_jars
from services.clients.kafka import consumer_options, create_topics, producer_options
from services.clients.topics import ARTICLES_TOPIC

from .conftest import PATIENCE_SECONDS


def is_running(pid: int) -> bool:
    """Whether the process lives; one that nobody has collected yet (a zombie) does not."""
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def test_data_survives_a_kill_and_a_restart_and_a_supervisor_sees_the_kill(tmp_path: Path) -> None:
    partition = TopicPartition(ARTICLES_TOPIC, 0)
    with EmbeddedBroker(data_dir=tmp_path, port=free_port()) as broker:
        create_topics(broker.bootstrap_servers, partitions=1)
        with KafkaProducer(**producer_options(broker.bootstrap_servers)) as producer:
            producer.send(ARTICLES_TOPIC, key=b"a", value=b"kept").get()
        assert broker.poll() is None
        os.kill(broker.pid, signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while broker.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert broker.poll() == -signal.SIGKILL

    with EmbeddedBroker(data_dir=tmp_path, port=free_port()) as broker:
        with KafkaConsumer(**consumer_options(broker.bootstrap_servers)) as consumer:
            consumer.assign([partition])
            (record,) = consumer.poll(timeout_ms=1000 * PATIENCE_SECONDS)[partition]
            assert (record.key, record.value) == (b"a", b"kept")
        pid = broker.pid
    assert not is_running(pid)
    assert b"shut down completed" in (tmp_path / "kafka.log").read_bytes()


def test_kafka_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from services.broker import EmbeddedBroker\n"
        "with EmbeddedBroker(data_dir=Path(sys.argv[1]), port=int(sys.argv[2])) as broker:\n"
        "    print(broker.pid, flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", program, str(tmp_path), str(free_port())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        assert is_running(pid)
        parent.kill()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(pid)


def test_kafka_has_a_session_of_its_own_that_ctrl_c_does_not_reach(broker: EmbeddedBroker) -> None:
    assert os.getsid(broker.pid) == broker.pid


def test_a_taken_port_is_named_with_the_variable_that_changes_it(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BrokerError, match=rf"Port {port} .*TIDINGS_BROKER_PORT"):
            EmbeddedBroker(data_dir=tmp_path, port=port).__enter__()


def test_a_second_broker_on_the_same_folder_is_refused(broker: EmbeddedBroker) -> None:
    with pytest.raises(BrokerError, match=r"Another Tidings uses the data folder .*TIDINGS_DATA_DIR"):
        EmbeddedBroker(data_dir=broker.data_dir, port=free_port()).__enter__()
    assert broker.poll() is None


def test_a_folder_with_other_data_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "kafka").mkdir()
    (tmp_path / "kafka" / "meta.properties").write_text("version=1\nnode.id=7\n")
    with pytest.raises(BrokerError, match=r"does not hold an embedded broker's data.*TIDINGS_DATA_DIR"):
        EmbeddedBroker(data_dir=tmp_path, port=free_port()).__enter__()
    assert (tmp_path / "kafka" / "meta.properties").read_text() == "version=1\nnode.id=7\n"


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BrokerError, match=r"data folder cannot be used.*TIDINGS_DATA_DIR"):
        EmbeddedBroker(data_dir=tmp_path / "file" / "data", port=free_port()).__enter__()


def test_a_kafka_that_ends_at_its_start_names_its_log(tmp_path: Path) -> None:
    (tmp_path / "kafka").mkdir()
    (tmp_path / "kafka" / "meta.properties").write_text("version=99\nnode.id=1\n")
    with pytest.raises(BrokerError, match=r"ended while it started; .*kafka.log says why"):
        EmbeddedBroker(data_dir=tmp_path, port=free_port()).__enter__()
    assert "version number 99" in (tmp_path / "kafka.log").read_text()


# The jars. Their folder has a Maven repository's layout, so a copy of it can serve as one: no network is needed.


@pytest.fixture
def copied_jars(tmp_path: Path) -> Path:
    kafka_jars(JARS_DIR)
    return shutil.copytree(JARS_DIR, tmp_path / "copied", copy_function=os.link)


@pytest.fixture
def repository(copied_jars: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder behind the repository that jgo downloads from."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    handler = functools.partial(Handler, directory=str(copied_jars))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        monkeypatch.setitem(jgo_core.DEFAULT_REMOTE_REPOS, "central", f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield copied_jars
        server.shutdown()
        thread.join()


def damage(jars: Path) -> Path:
    (jar,) = jars.rglob("slf4j-api-*.jar")
    jar.unlink()  # the copy is a hard link: writing into it would write into the installation's
    jar.write_bytes(b"damaged")
    return jar


def test_the_jars_are_downloaded_once_and_then_need_no_repository(repository: Path, tmp_path: Path) -> None:
    folder = tmp_path / "share" / "kafka"
    jars = kafka_jars(folder)
    assert len(jars) == 46
    assert all(jar.is_relative_to(folder) and jar.is_file() for jar in jars)
    shutil.rmtree(repository)
    assert kafka_jars(folder) == jars


def test_a_download_that_is_not_what_was_listed_is_refused_and_leaves_no_folder(
    repository: Path, tmp_path: Path
) -> None:
    jar = damage(repository)
    with pytest.raises(BrokerError, match=jar.name):
        kafka_jars(tmp_path / "kafka")
    assert not (tmp_path / "kafka").exists()


def test_a_jar_that_the_repository_does_not_have_is_named(repository: Path, tmp_path: Path) -> None:
    damage(repository).unlink()
    with pytest.raises(BrokerError, match=r"could not be downloaded.*slf4j-api"):
        kafka_jars(tmp_path / "kafka")


def test_without_network_the_message_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(jgo_core.DEFAULT_REMOTE_REPOS, "central", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(BrokerError, match=r"could not be downloaded.*start again with one"):
        kafka_jars(tmp_path / "kafka")


def test_a_damaged_jar_is_named_with_the_folder_to_remove(copied_jars: Path) -> None:
    jar = damage(copied_jars)
    with pytest.raises(BrokerError, match=f"{jar} is missing or damaged. Remove the folder {copied_jars}"):
        kafka_jars(copied_jars)
