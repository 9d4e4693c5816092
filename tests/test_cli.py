import json
import os
import subprocess
import sys
import uuid
from pathlib import Path


def tidings(*arguments: str, given: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "services.cli", *arguments]
    return subprocess.run(
        command, input=given, capture_output=True, text=True, env=os.environ | environment, check=False
    )


def test_extract_prints_a_line_of_events_for_each_article() -> None:
    given = '{"id": "1", "text": "Iran and Syria signed a military pact."}\n{"id": "2"}\n'
    done = tidings("extract", "--jsonl", "-", given=given)
    assert done.returncode == 0
    first, second = map(json.loads, done.stdout.splitlines())
    assert "diplomacy.agree" in {event["type"] for event in first["events"]}
    assert second == {"id": "2", "events": []}


def test_extract_names_the_bad_line_and_does_the_rest() -> None:
    done = tidings("extract", "--jsonl", "-", given='{"id": 7}\n{"id": "2"}\n')
    assert done.returncode == 1
    assert "line 1" in done.stderr
    assert json.loads(done.stdout)["id"] == "2"


def test_a_model_that_is_missing_is_said_in_a_sentence(tmp_path: Path) -> None:
    done = tidings("extract", "-", given="Text.", TIDINGS_MODEL_DIR=str(tmp_path))
    assert done.returncode == 1
    assert "TIDINGS_MODEL_DIR" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_setting_is_named() -> None:
    done = tidings("config", TIDINGS_PARTITIONS="many")
    assert done.returncode == 1
    assert done.stderr.startswith("TIDINGS_PARTITIONS: ")


def test_config_lists_every_setting_with_its_value() -> None:
    done = tidings("config", TIDINGS_BROKER_PORT="19092")
    assert "TIDINGS_KAFKA_BOOTSTRAP_SERVERS" in done.stdout
    assert "19092" in done.stdout


def test_produce_prints_a_receipt_and_publishes_only_changes_when_asked(kafka: str) -> None:
    article = json.dumps({"id": f"cli-{uuid.uuid4()}", "text": "Text."})
    first = tidings("produce", "-", given=article, TIDINGS_KAFKA_BOOTSTRAP_SERVERS=kafka)
    again = tidings("produce", "--changed-only", "-", given=article, TIDINGS_KAFKA_BOOTSTRAP_SERVERS=kafka)
    assert json.loads(first.stdout)["published"] == 1
    assert json.loads(again.stdout) | {"end_offsets": {}} == {
        "published": 0,
        "unchanged": 1,
        "refused": 0,
        "end_offsets": {},
    }
