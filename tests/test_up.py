"""`tidings up`, as a person starts, watches, disturbs and stops it: in a process of its own, with everything real."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from services.broker import free_port
from services.contracts import Event
from services.settings import ROOT

from .conftest import PATIENCE_SECONDS, eventually
from .test_broker import is_running

COMMAND = [sys.executable, "-m", "services.cli", "up"]
# Short ones, on different subjects.
SEEDS = ("002-albu-kamal-air-strikes", "015-forint-rate-rise")
LATER_SEED = "013-kaduna-hostages-freed"


def environment(folder: Path, **changes: str) -> dict[str, str]:
    """An installation of its own: data, seeds and ports."""
    seeds = folder / "seeds"
    seeds.mkdir(exist_ok=True)
    for name in SEEDS:
        shutil.copy(ROOT / "seeds" / f"{name}.txt", seeds)
    own = {
        "TIDINGS_DATA_DIR": str(folder / "data"),
        "TIDINGS_SEEDS_DIR": str(seeds),
        "TIDINGS_BROKER_PORT": str(free_port()),
        "TIDINGS_METRICS_PORT": str(free_port()),
    }
    return os.environ | own | changes


def up(given: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run until it ends by itself."""
    return subprocess.run(
        [*COMMAND, *arguments], env=given, capture_output=True, text=True, timeout=3 * PATIENCE_SECONDS, check=False
    )


@contextmanager
def started(given: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """`up --json` that shows its first event. Whatever is left of it is killed at the end."""
    with subprocess.Popen([*COMMAND, "--json"], env=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            assert process.stdout
            assert process.stdout.readline()
            yield process
        finally:
            process.kill()


def descendants(pid: int) -> set[int]:
    """The processes that the process has started, and theirs."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile
    found = {pid}
    while new := {child for child, parent in parents.items() if parent in found} - found:
        found |= new
    return found - {pid}


def metrics(given: dict[str, str]) -> str:
    """What Prometheus would read; nothing while the processor is away."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{given['TIDINGS_METRICS_PORT']}/metrics") as answer:
            text: str = answer.read().decode()
            return text
    except (urllib.error.URLError, ConnectionError):
        return ""


def sentence_of(done: subprocess.CompletedProcess[str]) -> str:
    """The last thing that is said by an `up` that cannot go on."""
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    return done.stderr.splitlines()[-1]


def test_once_prints_the_events_of_the_seeds_and_a_second_run_adds_only_what_is_new(tmp_path: Path) -> None:
    given = environment(tmp_path)
    first = up(given, "--once", "--json")
    assert first.returncode == 0, first.stderr
    events = [msgspec.json.decode(line, type=Event) for line in first.stdout.strip().split("\n")]
    assert {event.article_id for event in events} == {f"seed-{name}" for name in SEEDS}
    assert f"127.0.0.1:{given['TIDINGS_BROKER_PORT']}" in first.stderr
    assert f"http://127.0.0.1:{given['TIDINGS_METRICS_PORT']}/metrics" in first.stderr
    assert first.stderr.splitlines()[-1].startswith(
        f"2 articles (2 of them published now), 0 refused, {len(events)} ev"
    )

    shutil.copy(ROOT / "seeds" / f"{LATER_SEED}.txt", given["TIDINGS_SEEDS_DIR"])
    (Path(given["TIDINGS_SEEDS_DIR"]) / "bad.jsonl").write_text("nonsense\n")
    second = up(given, "--once")
    assert second.returncode == 1, second.stderr
    assert second.stderr.splitlines()[-1].startswith("3 articles (1 of them published now), 1 refused, ")
    assert "bad.jsonl, line 1" in second.stderr
    titles = ("air strikes", "forint", "hostages")
    assert all(title in second.stdout.lower() for title in titles)
    assert second.stdout.splitlines()[0].startswith("UTC")


def test_up_is_watched_disturbed_and_stopped_without_leaving_anything(tmp_path: Path) -> None:
    given = environment(tmp_path)
    with started(given) as process:
        children = descendants(process.pid)
        assert len(children) >= 3  # Kafka, the processor, its extractor
        assert "tidings_model_info{" in metrics(given)

        # A second one is refused: on the same folder, and on the same port.
        same_folder = up(given)
        assert "Another `tidings up` uses the data folder" in sentence_of(same_folder)
        port = given["TIDINGS_METRICS_PORT"]
        (tmp_path / "other").mkdir()
        same_port = up(environment(tmp_path / "other", TIDINGS_METRICS_PORT=port))
        assert f"Port {port} on 127.0.0.1 cannot be used" in sentence_of(same_port)
        assert "TIDINGS_METRICS_PORT" in same_port.stderr

        # The processor is killed, and comes back.
        (processor,) = [pid for pid in children if b"\0process\0" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        os.kill(processor, signal.SIGKILL)
        assert eventually(lambda: not metrics(given))
        assert eventually(lambda: "tidings_model_info{" in metrics(given))
        children |= descendants(process.pid)

        process.send_signal(signal.SIGINT)
        _, log = process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 0
        assert b"Traceback" not in log
        assert b"the processor has ended (status -9); it is started again" in log
        assert not any(map(is_running, children))
    assert "Traceback" not in (tmp_path / "data" / "logs" / "processor.log").read_text()


def test_an_up_that_is_killed_takes_everything_with_it(tmp_path: Path) -> None:
    with started(environment(tmp_path)) as process:
        children = descendants(process.pid)
        assert len(children) >= 3
        process.kill()
        assert eventually(lambda: not any(map(is_running, children)))


def test_a_processor_that_cannot_work_is_given_up_with_its_last_words(tmp_path: Path) -> None:
    done = up(environment(tmp_path, TIDINGS_MODEL_DIR=str(tmp_path)))
    error = sentence_of(
        subprocess.CompletedProcess(done.args, done.returncode, done.stdout.partition("UTC")[0], done.stderr)
    )
    assert "The processor has ended 3 times without finishing anything." in error
    assert str(tmp_path / "data" / "logs" / "processor.log") in error
    assert "TIDINGS_MODEL_DIR" in error


def test_a_kafka_that_ends_ends_up_with_an_error_that_names_its_log(tmp_path: Path) -> None:
    with started(environment(tmp_path)) as process:
        children = descendants(process.pid)
        (kafka,) = [pid for pid in children if b"kafka.Kafka" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        os.kill(kafka, signal.SIGKILL)
        _, log = process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 1
        assert b"Kafka has ended (status -9)" in log.splitlines()[-1]
        assert eventually(lambda: not any(map(is_running, children)))


def test_any_other_kafka_will_do(kafka: str, tmp_path: Path) -> None:
    given = environment(tmp_path, TIDINGS_KAFKA_BOOTSTRAP_SERVERS=kafka, TIDINGS_CONSUMER_GROUP="test-up")
    done = up(given, "--once", "--json", "--replay")
    assert done.returncode == 0, done.stderr
    assert "(2 of them published now)" in done.stderr.splitlines()[-1]
    # Not `splitlines`: an event's text may hold other characters that it takes for the end of a line.
    shown = {json.loads(line)["article_id"] for line in done.stdout.strip().split("\n")}
    assert {f"seed-{name}" for name in SEEDS} <= shown
    assert not (tmp_path / "data" / "kafka.log").exists()


def test_a_port_that_kafka_needs_and_is_taken_is_named_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        error = sentence_of(up(environment(tmp_path, TIDINGS_BROKER_PORT=port)))
    assert port in error
    assert "TIDINGS_BROKER_PORT" in error


@pytest.fixture(autouse=True)
def _nothing_is_left(tmp_path: Path) -> Iterator[None]:
    """Whatever a test does, no process goes on using its folder."""
    yield
    marker = str(tmp_path).encode()
    left = [
        file.parent.name
        for file in Path("/proc").glob("[0-9]*/environ")
        if is_running(int(file.parent.name)) and marker in _environ(file)
    ]
    assert not left


def _environ(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""
