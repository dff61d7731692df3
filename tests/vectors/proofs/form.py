"""Circuits as JSON and back, for the proof vectors: every number in the open, so that any language can read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from circuits.circuit import Bound, Circuit, Dense, Entries, InputSpec, InputTerm, Role, Vector
from marginseal.records.statement import Kind

HERE = Path(__file__).parent


def entries_form(e: Entries) -> list[list[int]]:
    columns = zip(e.equation, e.target, e.row, e.value, strict=True)
    return [[int(x) for x in cell] for cell in columns]


def circuit_form(c: Circuit) -> dict[str, Any]:
    return {
        "kind": int(c.kind),
        "rule": c.rule,
        "parameters": c.parameters.hex(),
        "epoch": c.epoch.hex(),
        "n": c.n,
        "tiles": c.tiles,
        "vectors": [{"limbs": v.limbs, "signed": v.signed, "first": v.first} for v in c.vectors],
        "bound": [
            {"role": int(b.role), "tile": b.tile, "combination": [list(x) for x in b.combination]} for b in c.bound
        ],
        "equations": c.equations,
        "dense": [
            {"target": d.target, "equation": d.equation, "row": d.row, "values": d.values.tolist()} for d in c.dense
        ],
        "linear": entries_form(c.linear),
        "quadratic": entries_form(c.quadratic),
        "constants": list(c.constants),
        "input_terms": [[t.equation, t.input, t.factor] for t in c.input_terms],
        "inputs": [{"name": i.name, "low": i.low, "high": i.high} for i in c.inputs],
    }


def entries_of(cells: list[list[int]]) -> Entries:
    if not cells:
        return Entries.none()
    equation, target, row, value = (np.array(column, dtype=np.int64) for column in zip(*cells, strict=True))
    return Entries(equation, target, row, value)


def circuit_of(form: dict[str, Any]) -> Circuit:
    return Circuit(
        kind=Kind(form["kind"]),
        rule=form["rule"],
        parameters=bytes.fromhex(form["parameters"]),
        epoch=bytes.fromhex(form["epoch"]),
        n=form["n"],
        tiles=form["tiles"],
        vectors=tuple(Vector(v["limbs"], v["signed"], v["first"]) for v in form["vectors"]),
        bound=tuple(
            Bound(Role(b["role"]), b["tile"], tuple((v, f) for v, f in b["combination"])) for b in form["bound"]
        ),
        equations=form["equations"],
        dense=tuple(
            Dense(d["target"], d["equation"], d["row"], np.array(d["values"], dtype=np.int64)) for d in form["dense"]
        ),
        linear=entries_of(form["linear"]),
        quadratic=entries_of(form["quadratic"]),
        constants=tuple(form["constants"]),
        input_terms=tuple(InputTerm(*t) for t in form["input_terms"]),
        inputs=tuple(InputSpec(i["name"], i["low"], i["high"]) for i in form["inputs"]),
    )


def text_of(vector: dict[str, Any]) -> str:
    """One line to a field; long lists stay on theirs."""
    fields = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in vector.items()]
    return "{\n" + ",\n".join(fields) + "\n}\n"


def stored() -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(path.read_text()) for path in sorted(HERE.glob("*.json"))}
