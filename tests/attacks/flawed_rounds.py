"""Transcripts with one flaw each: a challenge drawn before what it should depend on, or an item never absorbed."""

from __future__ import annotations

from collections.abc import Sequence

from marginseal.algebra.field import scalar_bytes
from marginseal.transcript import Transcript
from verifier.rounds import Rounds


class EarlyBeta(Rounds):
    """m is chosen after beta."""

    def round_1(self, limbs: Sequence[bytes], m: bytes) -> tuple[int, int]:
        for point in limbs:
            self._t.absorb("limb", point)
        beta, rho = self._challenge("beta"), self._challenge("rho")
        self._t.absorb("m", m)
        return beta, rho


class EarlyRho(Rounds):
    """Columns are chosen after rho; beta comes in its place."""

    def round_1(self, limbs: Sequence[bytes], m: bytes) -> tuple[int, int]:
        rho = self._challenge("rho")
        for point in (*limbs, m):
            self._t.absorb("limb", point)
        return self._challenge("beta"), rho


class EarlyY(Rounds):
    """h and phi are chosen after y."""

    def round_2(self, h: Sequence[bytes], phi: bytes) -> int:
        y = self._challenge("y")
        for point in (*h, phi):
            self._t.absorb("h", point)
        return y


class EarlyZ(Rounds):
    """The quotient is chosen after z."""

    def round_3(self, Q: Sequence[bytes]) -> int:
        z = self._challenge("z")
        for point in Q:
            self._t.absorb("Q", point)
        return z


class EarlyNu(Rounds):
    """Evaluations are chosen after nu."""

    def round_4(self, c_z: Sequence[int], phi_wz: int) -> int:
        nu = self._challenge("nu")
        for value in (*c_z, phi_wz):
            self._t.absorb("c(z)", scalar_bytes(value))
        return nu


class _Deaf(Transcript):
    """Absorbs everything but one label."""

    def __init__(self, state: bytes, label: str) -> None:
        super().__init__(state)
        self._label = label

    def absorb(self, label: str, data: bytes) -> None:
        if label != self._label:
            super().absorb(label, data)


def deaf_to(label: str) -> type[Rounds]:
    """Rounds that never absorb the proof items of that label."""

    class Deaf(Rounds):
        def __init__(self, transcript: Transcript, n: int) -> None:
            super().__init__(_Deaf(transcript.state, label), n)

    return Deaf
