"""What a comparison compares: a row is a back end with options, and how its answers become stems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gansep.backends import parse_backend
from gansep.types import GansepError


@dataclass(frozen=True)
class Row:
    """One way to take mixtures apart.

    Attributes:
        name: in tables. backend: its line of text (see :mod:`gansep.backends`).
        raw: whether the separator's own waveforms are the stems, without masks.
        blind: whether the program is told no names and chooses among all installed priors.
        bound: whether it is given the true sources, so that no method can be expected to reach it.
    """

    name: str
    backend: str
    raw: bool = False
    blind: bool = False

    @property
    def bound(self) -> bool:
        return parse_backend(self.backend)[0] == "oracle"


_PUBLISHED = "gan-prior:recipe=narayanaswamy2020"
ROWS: dict[str, Row] = {
    row.name: row
    for row in (
        Row("gan-prior", "gan-prior"),
        Row("gan-prior-fast", "gan-prior:quality=fast"),
        Row("gan-prior-best", "gan-prior:quality=best"),
        Row("gan-prior-search", "gan-prior:listen=0"),
        Row("gan-prior-raw", "gan-prior:listen=0,fallback=0", raw=True),
        Row("vae-prior", "gan-prior:kind=vae"),
        Row("gan-prior-k", "gan-prior", blind=True),
        Row("narayanaswamy2020", _PUBLISHED),
        Row("narayanaswamy2020-raw", _PUBLISHED, raw=True),
        Row("mask", "mask"),
        Row("mask-raw", "mask", raw=True),
        Row("mapping", "mapping"),
        Row("autoencoder", "autoencoder"),
        Row("nmf", "nmf"),
        Row("nmf-blind", "nmf:blind=1"),
        Row("pca", "pca"),
        Row("kernel-pca", "kernel-pca"),
        Row("fastica", "fastica"),
        Row("deep-prior", "deep-prior"),
        Row("hdemucs", "hdemucs"),
        Row("conv-tasnet", "conv-tasnet"),
        Row("time-cut", "time-cut"),
        Row("mixture", "mixture"),
        Row("silence", "silence"),
        Row("oracle-irm", "oracle:mask=irm"),
        Row("oracle-wiener", "oracle"),
    )
}
DEFAULT = tuple(name for name in ROWS if name not in ("gan-prior-best", "mapping"))


def parse_rows(names: Sequence[str]) -> list[Row]:
    """Rows by name, or by a back end's line of text, as ``oracle:mask=psm``.

    Raises:
        GansepError: neither a row nor a back end, or one that is given twice.
    """
    rows = []
    for name in names:
        if name not in ROWS:
            try:
                parse_backend(name)
            except GansepError as error:
                raise GansepError(f"{error}; or a row: {', '.join(ROWS)}") from error
        rows.append(ROWS.get(name) or Row(name, name))
    if len({row.name for row in rows}) < len(rows):
        raise GansepError(f"each row may be named once, got {', '.join(names)}")
    return rows
