"""The command line as its user meets it, in a process of its own."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import uuid
from pathlib import Path

import msgspec
import pytest

from services.contracts import Event
from services.settings import ROOT, Settings

from .conftest import PATIENCE_SECONDS
from .test_console import make_event, publish

COMMAND = [sys.executable, "-m", "services.cli"]
ENGLISH = {"id": "english", "text": "Iran and Syria signed a military pact.", "language": "en"}
FRENCH = {"id": "french", "text": "L’Iran et la Syrie ont signé un pacte.", "language": "fr"}


def tidings(*arguments: str | Path, given: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        input=given,
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=2 * PATIENCE_SECONDS,
        check=False,
    )


def error_of(done: subprocess.CompletedProcess[str]) -> str:
    """The one sentence of a command that failed as expected."""
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    (sentence,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    return sentence


# Settings.


def test_config_lists_every_setting_on_one_line_with_its_value_and_its_default() -> None:
    done = tidings("config", TIDINGS_BROKER_PORT="19092")
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    for name, field in Settings.model_fields.items():
        assert str(field.description) in lines[f"TIDINGS_{name.upper()}"]
    assert lines["TIDINGS_BROKER_PORT"].split()[1:3] == ["19092", "9092"]


def test_config_does_not_wait_for_libraries_that_it_does_not_need() -> None:
    program = (
        "import sys; from services.cli import app; app(['config'], standalone_mode=False)\n"
        "print({'torch', 'transformers', 'faust', 'kafka'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


def test_a_wrong_setting_is_named_with_its_value() -> None:
    sentence = error_of(tidings("config", TIDINGS_PARTITIONS="many"))
    assert sentence.startswith("error: TIDINGS_PARTITIONS is 'many': ")


def test_the_readme_has_every_setting_with_its_meaning_and_no_other() -> None:
    rows = re.findall(r"^\| `(TIDINGS_\w+)` \| .* \| (.*) \|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert dict(rows) == {f"TIDINGS_{name.upper()}": field.description for name, field in Settings.model_fields.items()}


def test_a_usage_error_has_status_2() -> None:
    assert tidings("tail", "--no-such-option").returncode == 2


# Extract.


def test_extract_prints_a_line_of_events_for_each_article_of_json_lines() -> None:
    given = "\n".join(map(json.dumps, (ENGLISH, {"id": "empty"}, FRENCH)))
    done = tidings("extract", "--jsonl", "-", given=given)
    assert done.returncode == 0
    first, *rest = map(json.loads, done.stdout.splitlines())
    assert rest == [{"id": "empty", "events": []}, {"id": "french", "events": []}]
    events = msgspec.convert(first["events"], list[Event])
    assert "diplomacy.agree" in {event.type for event in events}
    assert all(event.article_id == "english" for event in events)
    assert "french is not in English" in done.stderr
    assert "empty is empty" in done.stderr


def test_extract_names_a_bad_line_and_does_the_rest(tmp_path: Path) -> None:
    file = tmp_path / "articles"
    file.write_bytes(b'\xef\xbb\xbf{"id": 7}\n\n{"id": "2"}\n\xff\n{"id": "3"}')
    done = tidings("extract", "--jsonl", file)
    assert done.returncode == 1
    assert f"{file}, line 1: " in done.stderr
    assert f"{file}, line 4: " in done.stderr
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == ["2", "3"]


def test_extract_reads_a_text_with_front_matter_also_from_standard_input() -> None:
    (seed,) = ROOT.glob("seeds/001-*.txt")
    done = tidings("extract", "-", given=seed.read_text())
    (article,) = map(json.loads, done.stdout.splitlines())
    assert article["id"] == "seed-" + seed.stem
    assert {event["article"]["published_at"] for event in article["events"]} == {"2020-07-10T09:00:00Z"}


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    assert str(tmp_path / "absent") in error_of(tidings("extract", "--jsonl", tmp_path / "absent"))


def test_a_model_that_is_missing_is_said_in_a_sentence(tmp_path: Path) -> None:
    sentence = error_of(tidings("extract", "-", given="Text.", TIDINGS_MODEL_DIR=str(tmp_path)))
    assert "TIDINGS_MODEL_DIR" in sentence


# Produce and tail.


def test_produce_prints_a_receipt_and_publishes_only_changes_when_asked(kafka: str) -> None:
    article = json.dumps({"id": f"cli-{uuid.uuid4()}", "text": "Text."})
    first = tidings("produce", "-", given=article, TIDINGS_KAFKA_BOOTSTRAP_SERVERS=kafka)
    again = tidings("produce", "--changed-only", "-", given=article, TIDINGS_KAFKA_BOOTSTRAP_SERVERS=kafka)
    counts = {"published": 0, "unchanged": 0, "refused": 0}
    receipt = json.loads(first.stdout)
    assert receipt == counts | {"published": 1, "end_offsets": receipt["end_offsets"]}
    assert json.loads(again.stdout) == counts | {"unchanged": 1, "end_offsets": receipt["end_offsets"]}


def test_what_is_refused_is_said_and_makes_produce_fail(kafka: str) -> None:
    done = tidings("produce", "-", given="nonsense", TIDINGS_KAFKA_BOOTSTRAP_SERVERS=kafka)
    assert done.returncode == 1
    assert "standard input, line 1" in done.stderr
    assert json.loads(done.stdout)["refused"] == 1


@pytest.mark.parametrize("arguments", [["tail"], ["produce", "-"]], ids=" ".join)
def test_an_address_that_is_none_is_said_in_a_sentence(arguments: list[str]) -> None:
    done = tidings(*arguments, TIDINGS_KAFKA_BOOTSTRAP_SERVERS="nonsense")
    assert done.returncode == 1
    assert "TIDINGS_KAFKA_BOOTSTRAP_SERVERS" in done.stderr
    assert "Traceback" not in done.stderr


def test_tail_prints_the_events_as_json_or_as_a_table(kafka: str) -> None:
    event = make_event(f"cli-{uuid.uuid4()}", title=f"title-{uuid.uuid4()}")
    publish(kafka, msgspec.json.encode(event))
    lines = tidings("tail", "--once", "--json", TIDINGS_KAFKA_BOOTSTRAP_SERVERS=kafka).stdout.strip().split("\n")
    assert event in msgspec.convert(list(map(json.loads, lines)), list[Event])
    table = tidings("tail", "--once", TIDINGS_KAFKA_BOOTSTRAP_SERVERS=kafka).stdout.splitlines()
    assert table[0].split()[0] == "UTC"
    (headline,) = [number for number, line in enumerate(table) if event.article.title in line]
    assert "Iran signed → Syria" in table[headline + 1]


def test_tail_ends_quietly_when_it_is_interrupted_or_nobody_reads_any_more(kafka: str) -> None:
    article_id = f"cli-{uuid.uuid4()}"
    environment = os.environ | {"TIDINGS_KAFKA_BOOTSTRAP_SERVERS": kafka}
    command = [*COMMAND, "tail", "--json", "--from-start"]
    publish(kafka, msgspec.json.encode(make_event(article_id)))
    for ending in (signal.SIGINT, signal.SIGPIPE):
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
            assert process.stdout
            assert process.stderr
            assert process.stdout.readline()
            if ending == signal.SIGINT:
                process.send_signal(signal.SIGINT)
                status = process.wait(PATIENCE_SECONDS)
                assert status == 0
            else:
                process.stdout.close()
                publish(kafka, msgspec.json.encode(make_event(article_id, realis="negated")))
                process.wait(PATIENCE_SECONDS)
            assert process.stderr.read() == b""


# Doctor.


def test_doctor_says_what_is_wrong_and_how_to_mend_it_and_that_the_rest_is_well(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = tidings(
            "doctor",
            TIDINGS_DATA_DIR=str(tmp_path / "data"),
            TIDINGS_MODEL_DIR=str(tmp_path),
            TIDINGS_METRICS_PORT=str(taken.getsockname()[1]),
            TIDINGS_BATCH_SIZE="7",
        )
    assert done.returncode == 1
    verdicts = {name: verdict for verdict, name in re.findall(r"^(ok|problem) +([\w ]+): ", done.stdout, re.MULTILINE)}
    assert {name for name, verdict in verdicts.items() if verdict == "problem"} == {"settings", "ports", "model"}
    assert {"Python", "packages", "data folder", "Kafka"} <= verdicts.keys()
    for remedy in ("TIDINGS_BATCH_SIZE is no setting", "TIDINGS_METRICS_PORT", "TIDINGS_MODEL_DIR"):
        assert remedy in done.stdout
