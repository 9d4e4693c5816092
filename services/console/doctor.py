"""`tidings doctor`: what is wrong with this installation, and how to mend it."""

import importlib.metadata
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from kafka import KafkaAdminClient
from rich.console import Console
from rich.text import Text

from services.broker import BrokerError, EmbeddedBroker, free_port
from services.broker.guards import require_free
from services.broker.jars import JARS_DIR, kafka_jars
from services.clients.kafka import client_options, reachable_kafka
from services.extractor.extractor import Extractor
from services.settings import ROOT, Settings, variable

from .errors import ConsoleError
from .supervisor import sole_up

_LOCK = ROOT / "deploy" / "locks" / "run.txt"
_LEAST_PYTHON = (3, 11)
# Kafka is there or it is not: a person waits for the answer.
_CONNECT_SECONDS = 5


def doctor(settings: Settings) -> int:
    """Print a line for each check. The exit status: 1 if anything is wrong, else 0."""
    checks: dict[str, Callable[[Settings], str]] = {
        "Python": _python,
        "packages": _packages,
        "settings": _settings,
        "data folder": _data_folder,
        "ports": _ports,
        "Kafka": _kafka if settings.kafka_bootstrap_servers else _embedded_kafka,
        "model": _model,
    }
    console = Console(highlight=False, soft_wrap=True)
    status = 0
    for name, check in checks.items():
        try:
            verdict = Text("ok       ", style="green") + Text(f"{name}: {check(settings)}")
        except Exception as error:  # whatever it is, it is what the person wants to know
            verdict = Text("problem  ", style="bold red") + Text(f"{name}: {error}")
            status = 1
        console.print(verdict)
    return status


def _python(_: Settings) -> str:
    if sys.version_info < _LEAST_PYTHON:
        raise ConsoleError(f"{sys.version.split()[0]} is too old. Install 3.11 or newer, and remove .venv.")
    return f"{sys.version.split()[0]} in {sys.prefix}"


def _packages(_: Settings) -> str:
    """Those that the lock file names for every platform; where there is no such file, only the one nobody misses."""
    if importlib.util.find_spec("crc32c") is None:
        raise ConsoleError(
            "crc32c is missing, without which Kafka clients are ten times slower. Run `pip install crc32c`."
        )
    if not _LOCK.exists():
        return "crc32c is there"
    pinned = dict(
        line.removesuffix(" \\").split("==")
        for line in _LOCK.read_text().splitlines()
        if "==" in line and ";" not in line and not line.startswith((" ", "#"))
    )
    installed = {
        distribution.name.lower().replace("_", "-"): distribution.version
        for distribution in importlib.metadata.distributions()
    }
    differing = [
        f"{name} {installed.get(name, 'is missing')}" for name in pinned if installed.get(name) != pinned[name]
    ]
    if differing:
        raise ConsoleError(
            f"not as in {_LOCK}: {', '.join(differing)}. Run `{sys.executable} -m pip install --require-hashes "
            f"-r {_LOCK}`."
        )
    return f"{len(pinned)} packages, as in {_LOCK}"


def _settings(_: Settings) -> str:
    known = set(map(variable, Settings.model_fields))
    unknown = sorted(name for name in os.environ if name.upper().startswith("TIDINGS_") and name.upper() not in known)
    if unknown:
        raise ConsoleError(f"{', '.join(unknown)} is no setting. Remove it; `tidings config` lists the settings.")
    return f"{sum(name in os.environ for name in known)} of {len(known)} set by environment variables"


def _data_folder(settings: Settings) -> str:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=settings.data_dir):
        return f"{settings.data_dir} can be written"


def _ports(settings: Settings) -> str:
    ports = {"TIDINGS_METRICS_PORT": (settings.metrics_host, settings.metrics_port)}
    if not settings.kafka_bootstrap_servers:
        ports["TIDINGS_BROKER_PORT"] = ("127.0.0.1", settings.broker_port)
    named = ", ".join(f"{host}:{port}" for host, port in ports.values())
    if _is_up(settings):
        return f"{named} belong to the `tidings up` that runs on this data folder"
    for name, (host, port) in ports.items():
        require_free(host, port, variable=name)
    return f"{named} free"


def _is_up(settings: Settings) -> bool:
    try:
        with sole_up(settings.data_dir):
            return False
    except BrokerError:
        return True


def _kafka(settings: Settings) -> str:
    servers = settings.bootstrap_servers
    with reachable_kafka(servers, seconds=_CONNECT_SECONDS), KafkaAdminClient(**client_options(servers)) as admin:
        return f"{servers} answers, with {len(admin.list_topics())} topics"


def _embedded_kafka(_: Settings) -> str:
    """Started for real, in a folder and on a port of its own: Java, jars and answers in one."""
    if not JARS_DIR.is_dir():
        raise ConsoleError(
            f"{JARS_DIR} is not there yet. The first `tidings up` downloads it (44 MB): run it once online."
        )
    with (
        tempfile.TemporaryDirectory(prefix="tidings-") as folder,
        EmbeddedBroker(data_dir=Path(folder), port=free_port()),
    ):
        return f"the embedded one starts and answers, from {len(kafka_jars(JARS_DIR))} jars in {JARS_DIR}"


def _model(settings: Settings) -> str:
    model = Extractor.load(settings.model_dir).model
    return f"{model.name} {model.revision}, taxonomy {model.taxonomy_version}, from {settings.model_dir}"
