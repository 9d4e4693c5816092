"""What must hold before anything is started: the data folder is ours alone, a port is free."""

import fcntl
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import BrokerError


@contextmanager
def sole_user(data_dir: Path, *, lock: str, holder: str) -> Iterator[None]:
    """Hold the file `lock` in the data folder, so that a second `holder` is refused. The hold goes with the process.

    Raises:
        BrokerError: another process holds it, or there can be no such folder.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        file = (data_dir / lock).open("w")
    except OSError as error:
        raise BrokerError(
            f"The data folder cannot be used: {error}. Set TIDINGS_DATA_DIR to a folder of your own."
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BrokerError(
                f"Another {holder} uses the data folder {data_dir}. Stop it, or set TIDINGS_DATA_DIR to another folder."
            ) from error
        yield


def require_free(host: str, port: int, *, variable: str) -> None:
    """See that the address can be listened on; `variable` names the setting that changes the port.

    Raises:
        BrokerError: it cannot.
    """
    try:
        # It sets SO_REUSEADDR, as Kafka does: a port in TIME_WAIT is free.
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        raise BrokerError(
            f"Port {port} on {host} cannot be used: {error.strerror}. Stop what uses it, or set {variable} to "
            "another port."
        ) from error
