"""The examples and counts of docs/formats.md are what the code reads and makes."""

from __future__ import annotations

import re
from pathlib import Path

from marginseal.market import importer, parameters, portfolio, snapshot_csv, universe
from marginseal.market.epoch_bounds import PARAMETER_BOUNDS, VECTORS
from marginseal.records.client_policy import parse_policy
from tests.market.markets import one_of_each

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "formats.md").read_text()
BLOCKS = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)


def test_the_examples_load() -> None:
    assert len(BLOCKS) == 6  # the fifth is the venue policy: tests/verifier/test_policy.py
    assert parse_policy(BLOCKS[5].encode()).bounds["initial_factor_permille"] == (1000, 1500)
    listed = universe.parse_universe(BLOCKS[0].encode())
    assert listed.ids == ("USD", "BTC", "BTC-PERPETUAL", "BTC-25DEC26-60000-C")
    assert parameters.parse_parameters(BLOCKS[2].encode()).rule["delta_limit.BTC"] == 3_000_000
    holdings = BLOCKS[3].replace('"universe_digest": "3c0d...",', "")
    assert portfolio.parse_holdings_json(holdings.encode(), listed).lots.tolist() == [250_000, 0, 22_000, 0]


def test_the_page_names_every_column_vector_and_parameter() -> None:
    words = set(re.findall(r"[A-Za-z_]+", PAGE))
    assert set(importer.CHAIN_COLUMNS) <= words
    assert set(VECTORS) <= words
    assert set(PARAMETER_BOUNDS) <= words
    assert {key for row in one_of_each().instruments for key in row.document()} <= words
    assert ",".join(universe.CSV_COLUMNS) in PAGE
    assert ",".join(snapshot_csv.CSV_COLUMNS) in PAGE
