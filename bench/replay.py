"""Replay of a log against one in-process verification after another (docs/benchmarks.md).

    python bench/replay.py [--attestations 200] [--epochs 20] [--workers 2]

A log over the example market (357 instruments, n = 512, three sources) is made once (`replay_log`).  Measured, wall and
processor time of all processes together:

    proof alone      `verify` of every proof, one after the other, circuits compiled once an epoch, nothing else checked
    one by one       every attestation as `marginseal verify` does it in one process: epoch decoded, circuit compiled,
                     signatures, sources, proofs, nothing kept from one to the next; a sample of 100
    one after another   the same by a program that keeps epochs, circuits and registries; the first 100
    replay           everything that `marginseal replay` checks, in one process and in all
"""

from __future__ import annotations

import argparse
import os
import time
from multiprocessing import forkserver
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from marginseal.log.bundle import Bundle

SAMPLE = 100


def one_after_another(bundle: Bundle, epochs: int) -> tuple[int, float, float]:
    """(proofs, wall seconds, processor seconds) of `verify` alone; decoding and compiling are not counted."""
    from replay_log import circuit, epoch

    from marginseal.log.entry import ATTESTATION
    from marginseal.records.attestation import Attestation
    from verifier.verify import Setting, verify

    setting, by_digest = Setting.default(), {epoch(number).digest: circuit(number).circuit for number in range(epochs)}
    count, wall, processor = 0, 0.0, 0.0
    for item in bundle.entries():
        if item.entry.kind != ATTESTATION:
            continue
        attestation = Attestation.decode(item.entry.payload)
        chosen = by_digest[attestation.statement.epoch]
        start, used = time.perf_counter(), time.process_time()
        verify(chosen, attestation.statement, attestation.proofs[0], setting=setting)
        wall, processor = wall + time.perf_counter() - start, processor + time.process_time() - used
        count += 1
    return count, wall, processor


def one_by_one(bundle: Bundle, *, keep: bool) -> tuple[int, float, float]:
    """(attestations, wall seconds, processor seconds) of a sample, each verified for itself.

    keep: by one worker, which keeps what attestations share; otherwise each as if it were the only one."""
    from replay_log import trust

    from marginseal.log.entry import ATTESTATION
    from verifier.log_index import BundleRecords
    from verifier.replay.records import RecordPass
    from verifier.replay.worker import Range, Worker
    from verifier.verify import Setting

    records, setting, total = BundleRecords(bundle), Setting.default(), bundle.description.entries
    record_pass = RecordPass(records, trust())
    places = []
    for position, entry in records.items(0, total):
        if entry.kind == ATTESTATION:
            places.append(position.index)
        else:
            assert not list(record_pass.note(position, entry))
    assert not list(record_pass.judge())
    chosen = places[:SAMPLE] if keep else places[:: max(1, len(places) // SAMPLE)]
    kept = Worker(bundle, trust(), record_pass.known, setting)
    start, used = time.perf_counter(), time.process_time()
    for index in chosen:
        worker = kept if keep else Worker(bundle, trust(), record_pass.known, setting)
        worker.judge(Range(index, index + 1, ()))
    return len(chosen), time.perf_counter() - start, time.process_time() - used


def processor() -> float:
    """Seconds of this process and of those it has waited for."""
    t = os.times()
    return t.user + t.system + t.children_user + t.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--attestations", type=int, default=200, help="2000 takes a quarter of an hour to make, once")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    given = parser.parse_args()

    from replay_log import RULE, commitment, make_bundle, trust

    from marginseal.log.bundle import Bundle
    from verifier.replay.run import replay

    bundle = Bundle(make_bundle(max(1, given.attestations // given.epochs), given.epochs, given.workers))
    count, wall, used = one_after_another(bundle, given.epochs)
    print(f"{count} attestations, {given.epochs} epochs, n = {commitment().n}, rule {RULE.name}")
    rows = [("proof alone", wall / count, used / count)]
    for name, keep in ("one by one", False), ("one after another", True):
        sample, wall, used = one_by_one(bundle, keep=keep)
        rows.append((f"{name} (sample of {sample})", wall / sample, used / sample))
    for workers in dict.fromkeys((1, given.workers)):
        before, start = processor(), time.perf_counter()
        found = replay(bundle, trust(), workers=workers)
        wall = time.perf_counter() - start
        if workers > 1:
            forkserver._forkserver._stop()  # waited for, so that its time and that of the workers it forked count
        used = processor() - before
        assert found.sound, found.findings[:3]
        rows.append((f"replay, {workers} process{'es' * (workers > 1)}", wall / count, used / count))
    for what, each, used in rows:
        print(f"{what:34} {each * 1e3:8.2f} ms each, processor {used * 1e3:6.2f} ms; whole log {each * count:8.2f} s")
    alone, one, after = (rows[i][1] / rows[-1][1] for i in range(3))
    print(f"replay on {given.workers} processes: {one:.2f} times one by one, {after:.2f} times one after another,")
    print(f"{alone:.2f} times the proofs alone")


if __name__ == "__main__":
    main()
