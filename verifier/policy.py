"""What a venue accepts: its policy, a file it writes itself (docs/formats.md, "Venue policy").

Nothing here is taken from an attestation.  A policy pins keys, rules, tiers and sources by name, and bounds every age;
`decision.decide` holds an attestation against it.  The part that says whom to believe (`Trust`) is what an auditor
needs too: `replay.run` takes it from the same file.
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
from marginseal.records.attestation import RuleRef
from marginseal.records.document import Members, canonical, parse_hex
from marginseal.records.keys import PublicKey, Role
from marginseal.records.oracle import OraclePolicy
from marginseal.records.statement import Tier

FORMAT = "marginseal-policy-1"
_KEYS = (
    "accounts", "chain_limit", "coherence_window_s", "currency", "epoch_lag_s", "epoch_max_age_s", "format", "hold",
    "listed_as", "log", "manifest_delay_s", "min_life_s", "minimum_pledge_ticks", "operators", "oracles", "provers",
    "registries", "rules", "sources", "srs", "tick", "venue",
)  # fmt: skip
_LOG_KEYS = ("keys", "max_age_s", "origin", "threshold", "witnesses")
_ORACLE_KEYS = ("confidence", "deviation", "keys", "threshold", "venues", "window_s")
_TIERS = {tier.name.lower(): tier for tier in Tier}


@dataclass(frozen=True)
class AcceptedRule:
    """A rule by name and parameters (RFC 8785 bytes), and the tiers at which the venue accepts it."""

    name: str
    parameters: bytes
    tiers: frozenset[Tier]


@dataclass(frozen=True)
class Trust:
    """Whom to believe, and how much delay to grant, whoever relies on an attestation.

    srs                   digest of the powers
    operators, provers    keys of risk operators (epochs, registries) and attestation provers
    oracles               whose reports make a snapshot, or None: the operator's word for it
    epoch_lag_s           how long after a newer epoch is logged an attestation may still use the one before
    manifest_delay_s      after which a changed manifest takes effect
    log                   the log's origin, keys and witnesses"""

    srs: bytes
    operators: tuple[PublicKey, ...]
    provers: tuple[PublicKey, ...]
    oracles: OraclePolicy | None
    epoch_lag_s: int
    manifest_delay_s: int
    log: LogPolicy


@dataclass(frozen=True)
class Policy:
    """venue                 who decides; its row is read from the venue registry
    trust                 whom it believes
    rules                 what it accepts; one of an attestation's claims has to match
    sources               source -> cap in ticks, or None: every source of an attestation must be here, and the least
                          cap bounds what the venue counts on
    accounts              account -> account key it knows, or empty: any account the log knows
    listed_as             the source under which the venue itself reports its books of the account, or None: every
                          attestation has to include it, since nothing else can show that a book was never listed
    source_registry_version, venue_registry_version   the oldest registries it takes: keys are replaced in later ones
    hold                  whether every source must hold until the attestation expires
    currency, tick        what every tick here is one of: an attestation in another unit is refused
    minimum_pledge_ticks  least pledge it bothers with
    epoch_max_age_s       oldest epoch; coherence_window_s: largest distance of cut and epoch
    min_life_s            least time to expiry
    chain_limit           how many attestations before the newest it verifies at most, where it accepted none of them
    log_max_age_s         how old a checkpoint may be"""

    venue: str
    trust: Trust
    rules: tuple[AcceptedRule, ...]
    sources: Mapping[str, int | None]
    accounts: Mapping[str, PublicKey]
    listed_as: str | None
    source_registry_version: int
    venue_registry_version: int
    hold: bool
    currency: str
    tick: str
    minimum_pledge_ticks: int
    epoch_max_age_s: int
    coherence_window_s: int
    min_life_s: int
    chain_limit: int
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
    """A policy file.  InputError policy.*, log.policy, oracle.policy; every fault names its member."""
    try:
        top = Members(parse_json(data, what="policy"), "policy", _KEYS)
        top.constant("format", FORMAT)
        log, registries = top.object("log", _LOG_KEYS), top.object("registries", ("sources", "venues"))
        trust = Trust(
            srs=top.hex("srs", 32),
            operators=_keys(top, "operators", Role.OPERATOR),
            provers=_keys(top, "provers", Role.PROVER),
            oracles=None if top.is_null("oracles") else _oracles(top.object("oracles", _ORACLE_KEYS)),
            epoch_lag_s=top.integer("epoch_lag_s"),
            manifest_delay_s=top.integer("manifest_delay_s"),
            log=LogPolicy(
                log.text("origin", limit=256),
                _note_keys(log, "keys"),
                _note_keys(log, "witnesses"),
                log.integer("threshold", 0, 64),
            ),
        )
        sources, accounts = top.mapping("sources", limit=4096), top.mapping("accounts", limit=4096)
        rules = tuple(_rule(rule) for rule in top.objects("rules", ("name", "parameters", "tiers"), limit=64))
        return Policy(
            venue=top.name("venue"),
            trust=trust,
            rules=rules,
            sources=MappingProxyType({name: _cap(cap, name) for name, cap in sources.items()}),
            accounts=MappingProxyType({name: _key(raw, Role.ACCOUNT, "accounts") for name, raw in accounts.items()}),
            listed_as=None if top.is_null("listed_as") else top.name("listed_as"),
            source_registry_version=registries.integer("sources", 1),
            venue_registry_version=registries.integer("venues", 1),
            hold=top.flag("hold"),
            currency=top.name("currency"),
            tick=top.name("tick"),
            minimum_pledge_ticks=top.decimal("minimum_pledge_ticks", 0, 2**62 - 1),
            epoch_max_age_s=top.integer("epoch_max_age_s", 1),
            coherence_window_s=top.integer("coherence_window_s"),
            min_life_s=top.integer("min_life_s"),
            chain_limit=top.integer("chain_limit", 1, 4096),
            log_max_age_s=log.integer("max_age_s", 1),
        )
    except DecodeError as e:
        raise InputError("policy." + e.code, e.message) from None


def _key(raw: object, role: Role, what: str) -> PublicKey:
    data = parse_hex(raw, 32)
    if data is None:
        raise InputError("policy.key", f"policy: {what}: a key is 64 lower-case hexadecimal digits")
    return PublicKey(role, data)


def _keys(top: Members, name: str, role: Role) -> tuple[PublicKey, ...]:
    keys = tuple(_key(raw, role, name) for raw in top.items(name, limit=64))
    if not keys:
        raise InputError("policy.key", f"policy: {name}: at least one key")
    return keys


def _note_keys(log: Members, name: str) -> tuple[VerifierKey, ...]:
    keys = log.items(name, limit=64)
    if not all(isinstance(key, str) for key in keys):
        raise InputError("policy.key", f"policy: log: {name}: a key is the text of a verifier key")
    return tuple(VerifierKey.parse(key) for key in keys)


def _oracles(top: Members) -> OraclePolicy:
    keys = top.mapping("keys", limit=64)
    return OraclePolicy(
        oracles=MappingProxyType({name: _key(raw, Role.ORACLE, "oracles") for name, raw in keys.items()}),
        threshold=top.integer("threshold", 1),
        venues=top.integer("venues", 1),
        window_s=top.integer("window_s", 1),
        deviation=top.integer("deviation", 1),
        confidence=top.integer("confidence"),
    )


def _rule(rule: Members) -> AcceptedRule:
    tiers = rule.names("tiers", limit=2)
    if not tiers or not set(tiers) <= _TIERS.keys():
        raise InputError("policy.tiers", "policy: rules: tiers are initial, maintenance, or both")
    try:
        ref = RuleRef(rule.name("name"), canonical(rule.mapping("parameters", limit=64)))
    except (ValueError, RecursionError):  # a number or text that RFC 8785 cannot write
        raise InputError("policy.rule", "policy: rules: a parameter has no canonical form") from None
    return AcceptedRule(ref.name, ref.parameters, frozenset(_TIERS[name] for name in tiers))


def _cap(value: Any, source: str) -> int | None:
    if value is None:
        return None
    return Members({source: value}, "policy: sources", (source,)).decimal(source, 0, 2**62 - 1)
