"""What a decision comes to: accepted with facts, or refused with every reason; and how reasons are gathered."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from marginseal.errors import MarginSealError, PolicyError

FORMAT = "marginseal-verdict-1"
T = TypeVar("T")


@dataclass(frozen=True)
class Verdict:
    """accepted, the facts that hold, and every reason against (code, message)."""

    accepted: bool
    facts: dict[str, Any]
    reasons: tuple[tuple[str, str], ...]

    def document(self) -> dict[str, Any]:
        reasons = [{"code": code, "message": message} for code, message in self.reasons]
        return {"format": FORMAT, "accepted": self.accepted, "facts": self.facts, "reasons": reasons}


@dataclass
class Findings:
    """Collects what is wrong while the checks that still make sense go on."""

    reasons: list[MarginSealError] = field(default_factory=list)

    def attempt(self, run: Callable[[], T]) -> T | None:
        try:
            return run()
        except MarginSealError as e:
            self.reasons.append(e)
            return None

    def all(self, faults: Iterable[MarginSealError]) -> None:
        self.attempt(lambda: self.reasons.extend(faults))

    def require(self, holds: bool, code: str, message: str) -> None:
        if not holds:
            self.reasons.append(PolicyError(code, message))
