"""The deployment: what it names exists, what it watches is served, and only this machine reaches it."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

from services.clients.topics import TOPICS
from services.processor.metrics import Metrics
from services.settings import ROOT, Settings

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: Mapping[str, Any] = COMPOSE["services"]
OURS = ("producer", "processor")
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()
PROMETHEUS_DIR = ROOT / "deploy" / "prometheus"
PROMETHEUS = yaml.safe_load((PROMETHEUS_DIR / "prometheus.yml").read_text())
RULES = [
    rule for group in yaml.safe_load((PROMETHEUS_DIR / "rules.yml").read_text())["groups"] for rule in group["rules"]
]
GRAFANA_DIR = ROOT / "deploy" / "grafana"
DATA_SOURCES = yaml.safe_load((GRAFANA_DIR / "provisioning/datasources/prometheus.yml").read_text())["datasources"]
DASHBOARD = json.loads((GRAFANA_DIR / "dashboards/tidings.json").read_text())
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
EXPRESSIONS = [*QUERIES, *(rule["expr"] for rule in RULES)]

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")


def environment(service: str) -> dict[str, str]:
    return {name: str(value) for name, value in SERVICES[service].get("environment", {}).items()}


def mounts(service: str) -> Iterator[tuple[str, str]]:
    """What is mounted, and where."""
    for mount in SERVICES[service].get("volumes", []):
        source, target, *_ = mount.split(":")
        yield source, target


def on_this_machine(service: str, path: str) -> Path:
    """The file of this repository that a container sees at `path`."""
    for source, target in mounts(service):
        if Path(path).is_relative_to(target):
            return ROOT / source / Path(path).relative_to(target)
    raise AssertionError(f"nothing is mounted at {path} in {service}")


def served_metrics() -> list[Metric]:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    # What has labels that are only known later has no sample before.
    metrics.model_info.labels("tidings-small", "1", "1.2")
    metrics.consumer_lag.labels("0")
    return list(registry.collect())


def promtool(*arguments: str | Path, cwd: Path = PROMETHEUS_DIR) -> None:
    result = subprocess.run(["promtool", *arguments], cwd=cwd, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_what_is_mounted_exists_and_cannot_be_written() -> None:
    for name, service in SERVICES.items():
        for mount in service.get("volumes", []):
            source, _, *mode = mount.split(":")
            if source.startswith("."):
                assert (ROOT / source).exists(), f"{name}: {mount}"
                assert mode == ["ro"], f"{name}: {mount}"
            else:
                assert source in COMPOSE["volumes"], f"{name}: {mount}"


def test_our_images_are_built_from_files_and_targets_that_exist() -> None:
    for name in OURS:
        build = SERVICES[name]["build"]
        assert (ROOT / build["context"] / build["dockerfile"]).is_file()
        assert re.search(rf"^FROM \S+ AS {build['target']}$", DOCKERFILE, re.MULTILINE)


def test_what_an_image_copies_exists_and_is_not_ignored() -> None:
    let_through = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = re.findall(r"^COPY (\S+) ", DOCKERFILE, re.MULTILINE)
    assert copied
    for source in copied:
        assert (ROOT / source).exists(), source
        assert any(Path(source).is_relative_to(path) for path in let_through), f"{source} is in .dockerignore"


def test_the_processors_image_has_the_versions_that_are_tested() -> None:
    def pins(name: str) -> set[str]:
        return set(re.findall(r"^[\w.-]+==\S+", (ROOT / "deploy/locks" / name).read_text(), re.MULTILINE))

    assert {"torch==2.13.0", "faust-streaming==0.15.3"} <= pins("processor.txt") <= pins("run.txt")


def test_images_have_versions() -> None:
    images = [service["image"] for name, service in SERVICES.items() if name not in OURS]
    stages = re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE, re.MULTILINE)
    bases = [base for base in re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) if base not in stages]
    assert bases
    for image in [*images, *bases]:
        assert re.search(r":v?\d+\.\d+", image), image


def test_our_images_do_not_run_as_root() -> None:
    for stage in re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]:
        name = re.match(r"\S+ AS (\S+)", stage)
        assert name
        if name[1] in OURS:
            user = re.findall(r"^USER (\d+)", stage, re.MULTILINE)
            assert user[-1:] not in ([], ["0"]), name[1]


def test_ports_are_published_for_this_machine_only() -> None:
    for name, service in SERVICES.items():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{name}: {port}"


def test_a_service_waits_for_what_can_come_true() -> None:
    for name, service in SERVICES.items():
        for other, wait in service.get("depends_on", {}).items():
            assert other in SERVICES, f"{name} waits for {other}"
            if wait["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[other]
            else:
                assert wait["condition"] == "service_completed_successfully"
                assert SERVICES[other]["restart"] == "no"


def test_our_settings_exist_and_have_values_that_are_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = {f"TIDINGS_{field}".upper() for field in Settings.model_fields}
    mentioned = "\n".join(path.read_text() for path in (ROOT / "docker-compose.yml", PROMETHEUS_DIR / "rules.yml"))
    assert set(re.findall(r"TIDINGS_\w+", mentioned + DOCKERFILE)) <= fields
    for name in OURS:
        with monkeypatch.context() as context:
            for variable, value in environment(name).items():
                context.setenv(variable, value)
            Settings()


def test_containers_and_this_machine_each_reach_kafka_at_an_address_of_their_own() -> None:
    advertised = re.findall(r"\w+://([\w.]+:\d+)", environment("kafka")["KAFKA_ADVERTISED_LISTENERS"])
    for name in OURS:
        server = environment(name)["TIDINGS_KAFKA_BOOTSTRAP_SERVERS"]
        assert server in advertised
        assert server.split(":")[0] in SERVICES
    (published,) = SERVICES["kafka"]["ports"]
    address, inside = published.rsplit(":", 1)
    assert address in advertised
    assert address == f"127.0.0.1:{Settings.model_fields['broker_port'].default}", "the README's examples say so"
    listening = re.findall(r"\w+://[\w.]*:(\d+)", environment("kafka")["KAFKA_LISTENERS"])
    assert {inside, *(server.split(":")[1] for server in advertised)} <= set(listening)
    assert set(advertised) & set(SERVICES["kafka"]["healthcheck"]["test"])


def test_kafka_keeps_its_data_in_the_volume() -> None:
    assert ("kafka-data", environment("kafka")["KAFKA_LOG_DIRS"]) in mounts("kafka")


def test_kafka_remembers_a_group_for_as_long_as_a_topic_keeps_records() -> None:
    minutes = int(environment("kafka")["KAFKA_OFFSETS_RETENTION_MINUTES"])
    assert minutes * 60_000 == max(topic.retention_ms for topic in TOPICS)


def test_prometheus_scrapes_the_processor_where_it_serves() -> None:
    ((job,), processor) = PROMETHEUS["scrape_configs"], environment("processor")
    assert job["job_name"] == "processor"
    (discovery,) = job["dns_sd_configs"]
    assert discovery["names"] == ["processor"]
    assert discovery["port"] == Settings.model_fields["metrics_port"].default
    assert "TIDINGS_METRICS_PORT" not in processor
    assert processor["TIDINGS_METRICS_HOST"] == "0.0.0.0"


def test_prometheus_finds_its_files() -> None:
    # Where the image looks for it.
    assert on_this_machine("prometheus", "/etc/prometheus/prometheus.yml") == PROMETHEUS_DIR / "prometheus.yml"
    for file in PROMETHEUS["rule_files"]:
        assert on_this_machine("prometheus", f"/etc/prometheus/{file}").is_file()


def test_grafana_asks_prometheus_as_often_as_that_scrapes() -> None:
    (source,) = DATA_SOURCES
    host, port = source["url"].removeprefix("http://").split(":")
    assert host in SERVICES
    assert SERVICES[host]["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert source["jsonData"]["timeInterval"] == PROMETHEUS["global"]["scrape_interval"]


def test_grafana_finds_its_files() -> None:
    assert on_this_machine("grafana", "/etc/grafana/provisioning") == GRAFANA_DIR / "provisioning"
    (provider,) = yaml.safe_load((GRAFANA_DIR / "provisioning/dashboards/tidings.yml").read_text())["providers"]
    assert on_this_machine("grafana", provider["options"]["path"]) == GRAFANA_DIR / "dashboards"
    assert on_this_machine("grafana", environment("grafana")["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]).is_file()


def test_every_panel_says_what_it_shows_and_asks_the_provisioned_data_source() -> None:
    uids = {source["uid"] for source in DATA_SOURCES}
    for panel in DASHBOARD["panels"]:
        assert panel["description"], panel["title"]
        assert {panel["datasource"]["uid"], *(target["datasource"]["uid"] for target in panel["targets"])} <= uids
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(numbers) == len(set(numbers))


def test_panels_do_not_overlap() -> None:
    cells = [
        (x, y)
        for grid in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for x in range(grid["x"], grid["x"] + grid["w"])
        for y in range(grid["y"], grid["y"] + grid["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_every_alert_says_what_is_wrong_and_what_to_do() -> None:
    assert RULES
    for rule in RULES:
        assert rule["annotations"].keys() == {"summary", "description"}, rule["alert"]
        assert rule["labels"]["severity"] in ("page", "ticket"), rule["alert"]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_what_is_asked_of_prometheus_is_served_by_the_processor(expression: str) -> None:
    samples = [sample for metric in served_metrics() for sample in metric.samples]
    asked = set(re.findall(r"\btidings_\w+", expression))
    assert asked <= {sample.name for sample in samples}
    assert asked or re.search(r"\b(up|ALERTS)\b", expression)
    # Prometheus adds the last of these itself.
    labels = {label for sample in samples if sample.name in asked for label in sample.labels} | {
        "instance",
        "alertname",
    }
    grouped = {label for labels in re.findall(r"by \(([^)]*)\)", expression) for label in re.split(r",\s*", labels)}
    assert grouped <= labels


@needs_promtool
def test_prometheus_takes_its_configuration_and_rules() -> None:
    promtool("check", "config", "prometheus.yml")


@needs_promtool
def test_alerts_fire_when_they_should_and_only_then() -> None:
    promtool("test", "rules", "rules.test.yml")


@needs_promtool
def test_prometheus_understands_every_query_of_the_dashboard(tmp_path: Path) -> None:
    # Grafana replaces these before it asks.
    spans = {"$__rate_interval": "1m", "$__interval": "1m", "$__range": "3h"}
    queries = [re.sub("|".join(map(re.escape, spans)), lambda span: spans[span[0]], query) for query in QUERIES]
    rules = [{"record": f"dashboard:query{number}", "expr": query} for number, query in enumerate(queries)]
    (tmp_path / "queries.yml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", "queries.yml", cwd=tmp_path)
