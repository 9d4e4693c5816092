"""Kafka's jars: downloaded once for an installation, verified at every start."""

import fcntl
import hashlib
import logging
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .errors import BrokerError

logger = logging.getLogger(__name__)

KAFKA_VERSION = "4.3.1"
# Beside the packages that pip installed: one download serves all data folders of an installation, and the tests.
JARS_DIR = Path(sys.prefix) / "share" / "tidings" / f"kafka-{KAFKA_VERSION}"

# Every jar by its path in a Maven repository, which spells its coordinates; `sha256sum -c` reads it, too. For a new
# Kafka, resolve "org.apache.kafka:kafka_2.13:VERSION+org.apache.logging.log4j:log4j-slf4j-impl:VERSION!" with
# `jgo.resolve` (without the `!` log4j's own pins would replace kafka-clients by an older one), download, compare with
# the repository's .sha1 and .sha256 files, and list what `sha256sum` says.
_CHECKSUMS = Path(__file__).with_name("kafka-jars.sha256")
# A stalled connection is given up after so many seconds.
_TIMEOUT_SECONDS = 30
# A few at a time: 46 small files take half the time, and the repository is not strained.
_DOWNLOADS_AT_A_TIME = 4


def kafka_jars(folder: Path) -> list[Path]:
    """The class path of Kafka, all jars intact; the first call for a folder downloads them (44 MB).

    Raises:
        BrokerError: the download failed, or a jar is missing or damaged.
    """
    checksums = {name: sha256 for sha256, name in map(str.split, _CHECKSUMS.read_text().splitlines())}
    if not folder.is_dir():
        _download(checksums, folder)
    if damaged := _damaged(checksums, folder):
        raise BrokerError(
            f"{folder / damaged} is missing or damaged. Remove the folder {folder} and start again: "
            "Kafka is then downloaded anew."
        )
    return [folder / name for name in checksums]


def _damaged(checksums: dict[str, str], folder: Path) -> str | None:
    """The first jar that is not what the list says."""
    for name, sha256 in checksums.items():
        jar = folder / name
        if not jar.is_file() or hashlib.sha256(jar.read_bytes()).hexdigest() != sha256:
            return name
    return None


def _download(checksums: dict[str, str], folder: Path) -> None:
    """Download into a folder beside it, verify, and rename it into place: `folder` is whole or does not exist."""
    from jgo.maven import MavenContext  # here, since only the first start needs it

    logger.info("downloading Apache Kafka %s (44 MB, once) to %s", KAFKA_VERSION, folder)
    partial = folder.with_name(folder.name + ".partial")
    # Its own cache: jgo would take a jar that an interrupted download left in the user's.
    maven = MavenContext(repo_cache=partial, timeout=_TIMEOUT_SECONDS)

    def fetch(name: str) -> None:
        *group, artifact, version, _ = name.split("/")
        maven.project(".".join(group), artifact).at_version(version).artifact().resolve()

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with (
            folder.with_name(folder.name + ".lock").open("w") as lock,
            ThreadPoolExecutor(_DOWNLOADS_AT_A_TIME) as pool,
        ):
            fcntl.flock(lock, fcntl.LOCK_EX)
            if folder.is_dir():  # by another process, meanwhile
                return
            shutil.rmtree(partial, ignore_errors=True)
            list(pool.map(fetch, checksums))
            if damaged := _damaged(checksums, partial):
                raise BrokerError(f"The download of {damaged} is not the file that was expected. Start again.")
            partial.rename(folder)
    # What jgo raises: the errors of a connection are OSErrors, a file that the repository lacks is a RuntimeError.
    except (OSError, RuntimeError) as error:
        raise BrokerError(
            f"Apache Kafka could not be downloaded to {folder}: {error}. This is needed once, and takes a network "
            "connection: start again with one, or copy the folder from another installation."
        ) from error
