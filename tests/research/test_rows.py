"""Rows of a comparison by name, and what is no row."""

from __future__ import annotations

import pytest

from gansep.backends import BACKENDS, parse_backend
from gansep.research.rows import DEFAULT, ROWS, Row, parse_rows
from gansep.types import GansepError


def test_every_back_end_is_a_row() -> None:
    assert {parse_backend(row.backend)[0] for row in ROWS.values()} == set(BACKENDS)
    assert set(DEFAULT) <= set(ROWS)
    assert {name for name, row in ROWS.items() if row.bound} == {"oracle-irm", "oracle-wiener"}


def test_rows_and_back_ends() -> None:
    assert parse_rows(["nmf", "oracle:mask=psm"]) == [ROWS["nmf"], Row("oracle:mask=psm", "oracle:mask=psm")]
    with pytest.raises(GansepError, match=r"unknown back end 'magic'; .* or a row: gan-prior, "):
        parse_rows(["magic"])
    with pytest.raises(GansepError, match="each row may be named once"):
        parse_rows(["nmf", "nmf"])
