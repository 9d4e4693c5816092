"""Why a record cannot become events."""

from dataclasses import dataclass
from enum import Enum
from typing import Self


class Stage(Enum):
    """The step of the walk that an article did not pass."""

    READ = "read"
    EXTRACT = "extract"
    ASSEMBLE = "assemble"


@dataclass(frozen=True, kw_only=True)
class Rejection:
    """At which step a record failed, by which kind of error, saying what."""

    stage: Stage
    exception: str
    message: str

    @classmethod
    def of(cls, error: Exception, *, stage: Stage) -> Self:
        return cls(stage=stage, exception=type(error).__name__, message=str(error))
