"""The floor plan: which rows of which vectors every block of variables lies on (protocol.md section 3, vectors).

Bound vectors come first and share their rows with nothing: a vector a tile for holdings (two if split), one for
pledges, one for the predecessor's.  All other blocks are packed widest first, row after row, so that a vector is as
wide as the widest block on it and a block longer than what is left goes on in the next vector.  Packing sorted by width
uses the fewest columns there can be; a variable on a wider vector than it asked for is sound, since magnitudes are
those of the limbs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from circuits.circuit import Bound, Role, Vector
from circuits.expr import Block, Net, Variables
from circuits.model import Model
from circuits.ranges import bits


@dataclass(frozen=True)
class Segment:
    """Variables start .. start+count-1 of a block on rows row .. of a target (a vector, or a bound combination)."""

    target: int
    row: int
    start: int
    count: int


@dataclass(frozen=True, eq=False)
class Plan:
    vectors: tuple[Vector, ...]
    bound: tuple[Bound, ...]
    tiles: int
    places: Mapping[Variables, tuple[Segment, ...]]


def limbs_of(block: Variables, limb_bits: int) -> int:
    """Limbs whose capacity holds low..high: B**k - 1 unsigned, -B**k / 2 .. B**k / 2 - 1 signed."""
    size = bits(max(-block.low - 1, block.high)) + 1 if block.low < 0 else bits(block.high)
    return -(-size // limb_bits)


def floor_plan(model: Model) -> Plan:
    """The same model gives the same plan."""
    limb_bits = model.n.bit_length() - 1
    widths: list[tuple[int, bool]] = []
    bound: list[Bound] = []
    places: dict[Variables, tuple[Segment, ...]] = {}

    def open_vector(limbs: int, signed: bool) -> int:
        widths.append((limbs, signed))
        return len(widths) - 1

    def own_vectors(block: Block) -> tuple[Segment, ...]:
        out = []
        for start in range(0, block.count, model.n):
            vector = open_vector(limbs_of(block, limb_bits), block.signed)
            out.append(Segment(vector, 0, start, min(model.n, block.count - start)))
        return tuple(out)

    lots = model.lots
    assert lots is not None
    if isinstance(lots, Net):
        places[lots.long], places[lots.short] = own_vectors(lots.long), own_vectors(lots.short)
        pairs = zip(places[lots.long], places[lots.short], strict=True)
        for tile, (long, short) in enumerate(pairs):
            bound.append(Bound(Role.HOLDINGS, tile, ((long.target, 1), (short.target, -1))))
    else:
        places[lots] = own_vectors(lots)
        for tile, segment in enumerate(places[lots]):
            bound.append(Bound(Role.HOLDINGS, tile, ((segment.target, 1),)))
    tiles = len(bound)
    for role, block in ((Role.PLEDGES, model.pledge), (Role.PREVIOUS_PLEDGES, model.previous)):
        if block is not None:
            places[block] = own_vectors(block)
            bound.append(Bound(role, 0, ((places[block][0].target, 1),)))

    for signed in (False, True):
        blocks = [b for b in model.blocks if b not in places and b.signed == signed]
        blocks.sort(key=lambda b: -limbs_of(b, limb_bits))
        vector, row = -1, model.n
        for block in blocks:
            out, start = [], 0
            while start < block.count:
                if row == model.n:
                    vector, row = open_vector(limbs_of(block, limb_bits), signed), 0
                count = min(model.n - row, block.count - start)
                out.append(Segment(vector, row, start, count))
                start, row = start + count, row + count
            places[block] = tuple(out)

    if isinstance(lots, Net):
        # Targets after the vectors are the combinations in the order of `bound`; holdings are the only ones.
        places[lots] = tuple(Segment(len(widths) + t, 0, s.start, s.count) for t, s in enumerate(places[lots.long]))
    vectors, first = [], 0
    for limbs, signed in widths:
        vectors.append(Vector(limbs, signed, first))
        first += limbs
    return Plan(tuple(vectors), tuple(bound), tiles, places)
