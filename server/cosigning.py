"""The log's side of its witnesses: each new checkpoint is shown to them, and served with the cosignatures that came.

Nothing waits for a witness but who asks for a new checkpoint, and that for `witness_wait_s` at most; entries are
appended meanwhile as ever.  A witness that was silent, or refused, is left alone for `witness_rest_s`; what comes late
is added when it comes, while the checkpoint is the newest.  In one process a checkpoint is signed and shown under one
lock, so that no reader is served one that is still on its way; between processes the next checkpoint is tried again.

A witness that refuses for want of a consistency proof says that the log has forked: that is logged as an error.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import requests

from marginseal.errors import DecodeError, MarginSealError, PolicyError, ProofRejected, ServiceError
from marginseal.log.checkpoint import Checkpoint
from marginseal.log.log import Log
from marginseal.log.note import Note, VerifierKey
from marginseal.log.policy import MAX_AHEAD_S, LogPolicy
from marginseal.log.receipt import Receipt
from marginseal.log.witness_wire import MAX_ANSWER_BYTES, SIZE_TYPE, AddCheckpoint, add_answer, decode_size
from server.config import Config
from server.logs import where
from server.session import ends_by, open_session

_log = logging.getLogger("marginseal.server")
TRIES = 3
AHEAD_S = 0.2
Consistency = Callable[[int, int], list[bytes]]


class RemoteWitness:
    """One witness over HTTPS.  One thread at a time uses it."""

    def __init__(self, url: str, key: VerifierKey, *, ca: Path | None = None, timeout_s: float = 2.0) -> None:
        self.key = key
        self._url, self._timeout_s = f"{url}/add-checkpoint", timeout_s
        self._session = open_session(ca)
        self._size = 0  # what it cosigned last, as far as is known here

    def cosign(self, note: bytes, consistency: Consistency) -> bytes:
        """The checkpoint with its cosignature, not verified yet.

        ServiceError witness.unreachable, witness.http-<status>; PolicyError witness.ahead (it has seen a larger tree);
        ProofRejected witness.refused (another root, or no proof, by its word: the log has forked), witness.answer;
        DecodeError."""
        size = Checkpoint.of(note).size
        for _ in range(TRIES):
            if self._size > size:
                seen, self._size = self._size, 0  # by its word, which is asked for again
                raise PolicyError("witness.ahead", f"the witness has seen {seen} entries, and these are {size}")
            path = consistency(self._size, size) if self._size else []
            status, kind, body = self._post(AddCheckpoint(self._size, tuple(path), note).encode())
            if status == 200:
                self._size = size
                return add_answer(note, body, self.key)
            if status == 409 and kind == SIZE_TYPE:
                self._size = decode_size(body)
            elif status in (409, 422):
                raise ProofRejected("witness.refused", "the witness refuses the checkpoint: not the tree it has seen")
            else:
                raise ServiceError(f"witness.http-{status}", f"the witness answers with status {status}")
        raise ServiceError("witness.size", "the witness does not say twice the same size")

    def _post(self, body: bytes) -> tuple[int, str, bytes]:
        for again in (True, False):
            try:
                return self._send(body)
            except requests.ConnectionError as e:
                # A connection that was kept and is closed by now shows when it is used; asking twice changes nothing.
                if not again or isinstance(e, requests.Timeout):
                    break
            except requests.RequestException:
                break
        raise ServiceError("witness.unreachable", "the witness cannot be reached")

    def _send(self, body: bytes) -> tuple[int, str, bytes]:
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        timeout = self._timeout_s
        with (
            ends_by(time.monotonic() + timeout),
            self._session.post(
                self._url, data=body, headers=headers, timeout=timeout, allow_redirects=False, stream=True
            ) as response,
        ):
            data = b""
            for part in response.iter_content(4096):
                data += part
                if len(data) > MAX_ANSWER_BYTES:
                    raise DecodeError("witness.answer", "the witness answers at too great a length")
            return response.status_code, response.headers.get("Content-Type", ""), data


class _Asked:
    """A witness and how it has been: when it may be asked again, and the thread that still waits for it."""

    def __init__(self, remote: RemoteWitness) -> None:
        self.remote = remote
        self.rests_until = 0.0
        self.thread: threading.Thread | None = None

    def is_free(self, now: float) -> bool:
        return now >= self.rests_until and (self.thread is None or not self.thread.is_alive())


class CosignedLog:
    """What a server process serves of its log; without witnesses, the log's own word."""

    def __init__(
        self,
        log: Log,
        key: VerifierKey,
        witnesses: Sequence[RemoteWitness] = (),
        *,
        wait_s: float = 2.0,
        rest_s: float = 30.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._log, self._wait_s, self._rest_s, self._clock = log, wait_s, rest_s, clock
        self._asked = [_Asked(w) for w in witnesses]
        self._policy = LogPolicy(log.origin, (key,), tuple(w.key for w in witnesses))
        self._lock = threading.Lock()

    @classmethod
    def of(cls, config: Config, log: Log, key: VerifierKey) -> CosignedLog:
        c = config.log
        remotes = [
            RemoteWitness(w.url, w.verifier, ca=None if w.ca is None else config.path(w.ca), timeout_s=c.witness_wait_s)
            for w in c.witnesses
        ]
        return cls(log, key, remotes, wait_s=c.witness_wait_s, rest_s=c.witness_rest_s)

    def checkpoint(self, *, now: int, max_age_s: int) -> bytes:
        """A checkpoint of all entries as `Log.checkpoint`, with the cosignatures it has."""
        note = b""
        for _ in range(TRIES):
            if not self._asked:
                return self._log.checkpoint(now=now, max_age_s=max_age_s)
            with self._lock:
                note = self._log.checkpoint(now=now, max_age_s=max_age_s)
                self._show(note)
            text = Note.parse(note).text
            last = self._log.last_checkpoint()
            if last is not None and Note.parse(last.note).text == text:
                return last.note
            # Another process has signed a newer one meanwhile, to which alone cosignatures are added.
        return note

    def newest(self, account: str, *, now: int, max_age_s: int) -> tuple[bytes, bytes]:
        """(receipt, head statement) as `Log.newest`, under a checkpoint that the witnesses were shown."""
        for _ in range(TRIES if self._asked else 0):
            note = self.checkpoint(now=now, max_age_s=max_age_s)
            receipt, head = self._log.newest(account, now=now, max_age_s=max_age_s)
            if Note.parse(Receipt.decode(receipt).note).text == Note.parse(note).text:
                return receipt, head
        return self._log.newest(account, now=now, max_age_s=max_age_s)

    def _show(self, note: bytes) -> None:
        """Ask every witness that has not cosigned it and is free, and wait for all of them, `wait_s` at most."""
        started, by = time.monotonic(), {(s.name, s.key_id) for s in Note.parse(note).signatures}
        missing = [a for a in self._asked if (a.remote.key.name, a.remote.key.key_id) not in by]
        free = [asked for asked in missing if asked.is_free(started)]
        for asked in free:
            asked.thread = threading.Thread(target=self._ask, args=(asked, note), name="witness", daemon=True)
            asked.thread.start()
        for asked in free:
            assert asked.thread is not None
            asked.thread.join(max(0.0, started + self._wait_s - time.monotonic()))
            if asked.thread.is_alive():
                self._rest(asked, "witness.silent")

    def _ask(self, asked: _Asked, note: bytes) -> None:
        try:
            cosigned = asked.remote.cosign(note, self._log.consistency)
            # A venue holds the times of its witnesses against its clock: one far ahead would spoil the checkpoint.
            said = dict(self._policy.verify(cosigned).cosigned)[asked.remote.key.name]
            if abs(said - self._clock()) > MAX_AHEAD_S:
                raise ServiceError("witness.clock", "the clock of the witness is not ours")
            self._log.add_cosignatures(cosigned, self._policy)
        except PolicyError as e:  # superseded: the next one is shown.  ahead: that too, or the log went back
            level = logging.WARNING if e.code == "witness.ahead" else logging.INFO
            _log.log(level, "cosignature missed", extra={"code": e.code, "index": self._asked.index(asked)})
            asked.rests_until = time.monotonic() + min(AHEAD_S, self._rest_s)
        except ProofRejected as e:
            self._rest(asked, e.code, logging.ERROR)
        except MarginSealError as e:
            self._rest(asked, e.code)
        except Exception as e:
            self._rest(asked, "server.internal", logging.ERROR, at=where(e))

    def _rest(self, asked: _Asked, code: str, level: int = logging.WARNING, **more: str) -> None:
        asked.rests_until = time.monotonic() + self._rest_s
        _log.log(level, "witness rests", extra={"code": code, "index": self._asked.index(asked), **more})


def cosignatures(log: Log) -> int:
    """How many cosignatures the newest checkpoint carries."""
    last = log.last_checkpoint()
    return 0 if last is None else len(Note.parse(last.note).signatures) - 1
