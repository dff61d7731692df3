"""Private keys at rest: one encrypted file each, for signing and sealing keys alike.

scrypt turns the passphrase into a key, AES-256-GCM encrypts the 32-byte seed, and the rest of the document (role,
public key, cost) is authenticated with it.  The file is mode 0600 and is never overwritten.  Where the passphrase comes
from is left to the command line and the server's configuration.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from marginseal.errors import DecodeError, InputError
from marginseal.files import read_bytes, write_atomic
from marginseal.records import document
from marginseal.records.keys import Role, SigningKey
from marginseal.records.sealing import PUBLIC_BYTES, SealingKey

FORMAT = "marginseal/key"
VERSION = 1
SEALING = "sealing"
"""What stands for the role in the file of a sealing key."""

LOG_COST = 17
MIN_LOG_COST, MAX_LOG_COST = 14, 20
"""log2 of scrypt's cost: memory is 2^cost KiB, so a planted file cannot ask for more than 1 GiB."""

MIN_PASSPHRASE_BYTES = 8
_KEYS = ("ciphertext", "format", "log_cost", "nonce", "public", "role", "salt", "version")
_MAX_BYTES = 8192


def encode_key(
    key: SigningKey | SealingKey,
    passphrase: bytes,
    *,
    log_cost: int = LOG_COST,
    random: Callable[[int], bytes] = os.urandom,
) -> bytes:
    """The encrypted document.  InputError key.passphrase for one of fewer than 8 bytes."""
    assert MIN_LOG_COST <= log_cost <= MAX_LOG_COST
    salt, nonce = random(16), random(12)
    role = SEALING if isinstance(key, SealingKey) else key.role.value
    header = _header(role, key.public.raw, salt, nonce, log_cost)
    cipher = AESGCM(_stretch(passphrase, salt, log_cost))
    sealed = cipher.encrypt(nonce, key.seed, document.canonical(header))
    return document.canonical({**header, "ciphertext": sealed.hex()})


def decode_key(data: bytes, passphrase: bytes) -> SigningKey | SealingKey:
    """The key.  DecodeError record.*, json.* for another document; InputError key.unlock for another passphrase or a
    changed file."""
    top = document.decode(data, what="key file", keys=_KEYS, limit=_MAX_BYTES)
    top.constant("format", FORMAT)
    top.constant("version", VERSION)
    role = top.name("role")
    if role != SEALING and role not in [r.value for r in Role]:
        raise DecodeError("key.role", "key file: an unknown role")
    public = top.hex("public", PUBLIC_BYTES if role == SEALING else 32)
    salt, nonce, sealed = top.hex("salt", 16), top.hex("nonce", 12), top.hex("ciphertext", 48)
    log_cost = top.integer("log_cost", MIN_LOG_COST, MAX_LOG_COST)
    header = _header(role, public, salt, nonce, log_cost)
    try:
        seed = AESGCM(_stretch(passphrase, salt, log_cost)).decrypt(nonce, sealed, document.canonical(header))
    except InvalidTag:
        raise InputError("key.unlock", "key file: another passphrase, or the file was changed") from None
    key = SealingKey(seed) if role == SEALING else SigningKey(Role(role), seed)
    if key.public.raw != public:
        raise InputError("key.unlock", "key file: the public key is not that of the private one")
    return key


def _header(role: str, public: bytes, salt: bytes, nonce: bytes, log_cost: int) -> dict[str, Any]:
    """All of the document but the ciphertext, which authenticates it."""
    return {
        "format": FORMAT,
        "log_cost": log_cost,
        "nonce": nonce.hex(),
        "public": public.hex(),
        "role": role,
        "salt": salt.hex(),
        "version": VERSION,
    }


def _stretch(passphrase: bytes, salt: bytes, log_cost: int) -> bytes:
    if len(passphrase) < MIN_PASSPHRASE_BYTES:
        raise InputError("key.passphrase", f"a passphrase has at least {MIN_PASSPHRASE_BYTES} bytes")
    return Scrypt(salt=salt, length=32, n=2**log_cost, r=8, p=1).derive(passphrase)


def write_key(path: Path, key: SigningKey | SealingKey, passphrase: bytes, *, log_cost: int = LOG_COST) -> None:
    """A new file, mode 0600.  InputError key.exists, key.passphrase, file.*."""
    if path.exists():
        raise InputError("key.exists", f"{path} exists: a key is never overwritten")
    write_atomic(path, encode_key(key, passphrase, log_cost=log_cost), private=True)


def read_signing_key(path: Path, passphrase: bytes, role: Role) -> SigningKey:
    """The signing key of that role.  InputError file.*, key.unlock, key.role; DecodeError."""
    key = decode_key(read_bytes(path, limit=_MAX_BYTES, what="key file"), passphrase)
    if not isinstance(key, SigningKey) or key.role != role:
        raise InputError("key.role", f"{path} does not hold a signing key of role {role}")
    return key


def read_sealing_key(path: Path, passphrase: bytes) -> SealingKey:
    """The sealing key.  Errors as `read_signing_key`."""
    key = decode_key(read_bytes(path, limit=_MAX_BYTES, what="key file"), passphrase)
    if not isinstance(key, SealingKey):
        raise InputError("key.role", f"{path} does not hold a sealing key")
    return key
