"""Every error a caller may see, on one screen.

Each error carries a stable dotted `code` that names the check which refused, and its class fixes the exit status of
the command line.  Messages name what is wrong, never a private value (a holding, an opening, a key, a pledge); the one
exception is `Unsatisfied`, whose `shortfall` is for the owner's terminal alone and stays out of `str()`.
"""

from __future__ import annotations

from typing import Any


class MarginSealError(Exception):
    """Base of the tree: `code` is stable across versions, the message is for people."""

    exit_status = 1

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{message} [{code}]")
        self.code = code
        self.message = message

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.code, self.message)


class InputError(MarginSealError):
    """A file or value the user gave is malformed, unknown, stale or inconsistent."""

    exit_status = 3


class RangeError(InputError):
    """A number lies outside its stated bound."""


class DecodeError(MarginSealError):
    """Bytes that are not the canonical encoding of anything."""

    exit_status = 4


class RuleError(MarginSealError):
    """Parameters outside a rule's conditions, or a rule that does not compile within the bounds of section 3."""

    exit_status = 5


class Unsatisfied(MarginSealError):
    """The portfolio does not satisfy the rule.  Names the rule line; the amount is kept apart, for its owner."""

    exit_status = 6

    def __init__(self, code: str, message: str, *, line: str, shortfall: int) -> None:
        super().__init__(code, message)
        self.line = line
        self.shortfall = shortfall

    def __reduce__(self) -> tuple[Any, ...]:
        # Across a process boundary the amount is dropped on purpose: logs of a pool see the line alone.
        return _unsatisfied_without_amount, (self.code, self.message, self.line)


def _unsatisfied_without_amount(code: str, message: str, line: str) -> Unsatisfied:
    return Unsatisfied(code, message, line=line, shortfall=0)


class ProofRejected(MarginSealError):
    """Well formed and not valid: a proof, a signature, an opening or an inclusion path that does not hold."""

    exit_status = 7


class PolicyError(MarginSealError):
    """Valid, and not what was asked for: another epoch, rule, tier, account, age."""

    exit_status = 8


class StorageError(MarginSealError):
    """The log or the store refused an operation, or is found damaged."""

    exit_status = 9


class ServiceError(MarginSealError):
    """A remote service answered with a problem, or could not be reached."""

    exit_status = 10
