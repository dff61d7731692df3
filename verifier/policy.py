"""What a venue accepts: its policy, a file it writes itself (docs/formats.md, "Venue policy").

Nothing here is taken from an attestation.  A policy pins keys, rules, tiers and sources by name, and bounds every age;
`verifier.decide` holds an attestation against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from marginseal.errors import DecodeError, InputError
from marginseal.files import parse_json
from marginseal.log.note import VerifierKey
from marginseal.log.policy import LogPolicy
from marginseal.records.document import Members, canonical
from marginseal.records.keys import PublicKey, Role
from marginseal.records.statement import Tier

FORMAT = "marginseal-policy-1"
_KEYS = (
    "accounts", "coherence_window_s", "epoch_max_age_s", "format", "hold", "listed_as", "log", "manifest_delay_s",
    "min_life_s", "minimum_pledge_ticks", "operators", "provers", "rules", "sources", "srs", "venue",
)  # fmt: skip
_LOG_KEYS = ("keys", "max_age_s", "origin", "threshold", "witnesses")


@dataclass(frozen=True)
class AcceptedRule:
    """A rule by name and parameters (RFC 8785 bytes), and the tiers at which the venue accepts it."""

    name: str
    parameters: bytes
    tiers: frozenset[Tier]


@dataclass(frozen=True)
class Policy:
    """venue                 who decides; its row is read from the venue registry
    srs                   digest of the powers it trusts
    operators, provers    keys it believes: risk operators (epochs, registries), attestation provers
    rules                 what it accepts; one of an attestation's claims has to match
    sources               source -> cap in ticks, or None: every source of an attestation must be here, and the least
                          cap bounds what the venue counts on
    accounts              account -> account key it knows, or empty: any account the log knows
    listed_as             the source under which the venue itself reports its books of the account, or None: every
                          attestation has to include it, since nothing else can show that a book was never listed
    hold                  whether every source must hold until the attestation expires
    minimum_pledge_ticks  least pledge it bothers with
    epoch_max_age_s       oldest epoch; coherence_window_s: largest distance of cut and epoch
    min_life_s            least time to expiry; manifest_delay_s: after which a changed manifest takes effect
    log, log_max_age_s    whom it believes about the log, and how old a checkpoint may be"""

    venue: str
    srs: bytes
    operators: tuple[PublicKey, ...]
    provers: tuple[PublicKey, ...]
    rules: tuple[AcceptedRule, ...]
    sources: Mapping[str, int | None]
    accounts: Mapping[str, PublicKey]
    listed_as: str | None
    hold: bool
    minimum_pledge_ticks: int
    epoch_max_age_s: int
    coherence_window_s: int
    min_life_s: int
    manifest_delay_s: int
    log: LogPolicy
    log_max_age_s: int

    def accepts(self, name: str, parameters: bytes, tier: Tier) -> bool:
        """Whether a claim at `tier` is what the venue asks for; initial implies maintenance for every rule."""
        return any(
            (rule.name, rule.parameters) == (name, parameters) and (tier in rule.tiers or _implied(tier, rule.tiers))
            for rule in self.rules
        )


def _implied(tier: Tier, accepted: frozenset[Tier]) -> bool:
    return tier == Tier.INITIAL and Tier.MAINTENANCE in accepted


def parse_policy(data: bytes) -> Policy:
    """A policy file.  InputError policy.*; every fault names its member."""
    try:
        top = Members(parse_json(data, what="policy"), "policy", _KEYS)
        top.constant("format", FORMAT)
        log = top.object("log", _LOG_KEYS)
        return Policy(
            venue=top.name("venue"),
            srs=top.hex("srs", 32),
            operators=_keys(top, "operators", Role.OPERATOR),
            provers=_keys(top, "provers", Role.PROVER),
            rules=tuple(_rule(rule) for rule in top.objects("rules", ("name", "parameters", "tiers"), limit=64)),
            sources=MappingProxyType(
                {name: _cap(cap, name) for name, cap in top.mapping("sources", limit=4096).items()}
            ),
            accounts=MappingProxyType(
                {name: _key(raw, Role.ACCOUNT, "accounts") for name, raw in top.mapping("accounts", limit=4096).items()}
            ),
            listed_as=None if top.is_null("listed_as") else top.name("listed_as"),
            hold=top.flag("hold"),
            minimum_pledge_ticks=top.decimal("minimum_pledge_ticks", 0, 2**62 - 1),
            epoch_max_age_s=top.integer("epoch_max_age_s", 1),
            coherence_window_s=top.integer("coherence_window_s"),
            min_life_s=top.integer("min_life_s"),
            manifest_delay_s=top.integer("manifest_delay_s"),
            log=LogPolicy(
                log.text("origin", limit=256),
                tuple(VerifierKey.parse(str(key)) for key in log.items("keys", limit=16)),
                tuple(VerifierKey.parse(str(key)) for key in log.items("witnesses", limit=64)),
                log.integer("threshold", 0, 64),
            ),
            log_max_age_s=log.integer("max_age_s", 1),
        )
    except DecodeError as e:
        raise InputError("policy." + e.code, e.message) from None


def _key(raw: object, role: Role, what: str) -> PublicKey:
    if not isinstance(raw, str):
        raise InputError("policy.key", f"policy: {what}: a key is 64 hexadecimal digits")
    try:
        return PublicKey(role, bytes.fromhex(raw))
    except ValueError:
        raise InputError("policy.key", f"policy: {what}: a key is 64 hexadecimal digits") from None


def _keys(top: Members, name: str, role: Role) -> tuple[PublicKey, ...]:
    keys = tuple(_key(raw, role, name) for raw in top.items(name, limit=64))
    if not keys:
        raise InputError("policy.key", f"policy: {name}: at least one key")
    return keys


def _rule(rule: Members) -> AcceptedRule:
    tiers = {Tier[name.upper()] for name in rule.names("tiers", limit=2) if name in ("initial", "maintenance")}
    if not tiers:
        raise InputError("policy.tiers", "policy: rules: tiers are initial, maintenance, or both")
    return AcceptedRule(rule.name("name"), canonical(rule.mapping("parameters", limit=64)), frozenset(tiers))


def _cap(value: Any, source: str) -> int | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value.isascii() or not value.isdigit() or len(value) > 19:
        raise InputError("policy.cap", f"policy: sources: {source}: a cap is null or ticks as decimal text")
    return int(value)
