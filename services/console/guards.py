"""What must hold before anything is started: the data folder is ours alone, a port is free."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import ConsoleError


@contextmanager
def sole_user(data_dir: Path) -> Iterator[None]:
    """Hold the data folder, so that a second `up` on it is refused. The hold goes with the process.

    Raises:
        ConsoleError: another process holds it, or there can be no such folder.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        folder = os.open(data_dir, os.O_RDONLY)
    except OSError as error:
        raise ConsoleError(
            f"The data folder cannot be used: {error}. Set TIDINGS_DATA_DIR to a folder of your own."
        ) from error
    try:
        _lock(folder, data_dir)
        yield
    finally:
        os.close(folder)


def require_free(host: str, port: int, *, variable: str) -> None:
    """See that the address can be listened on; `variable` names the setting that changes the port.

    Raises:
        ConsoleError: it cannot.
    """
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        raise ConsoleError(
            f"Port {port} on {host} cannot be used: {error.strerror}. Stop what uses it, or set {variable} to "
            "another port."
        ) from error


def _lock(folder: int, data_dir: Path) -> None:
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ConsoleError(
            f"Another `tidings up` uses the data folder {data_dir}. Stop it, or set TIDINGS_DATA_DIR to another folder."
        ) from error
