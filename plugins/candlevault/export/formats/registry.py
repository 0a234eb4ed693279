"""All formats by name."""

from __future__ import annotations

from candlevault.errors import InvalidRequest
from candlevault.export.formats import (
    csv_text,
    freqtrade_feather,
    lean_zip,
    nautilus_catalog,
    parquet_file,
    qlib_csv,
)
from candlevault.export.formats.contract import Format

FORMATS: dict[str, Format] = {
    module.FORMAT.name: module.FORMAT
    for module in (
        parquet_file,
        csv_text,
        freqtrade_feather,
        nautilus_catalog,
        lean_zip,
        qlib_csv,
    )
}


def get(name: str) -> Format:
    """The format; raises InvalidRequest naming those there are."""
    try:
        return FORMATS[name]
    except (KeyError, TypeError):
        raise InvalidRequest("format", f"must be one of {', '.join(FORMATS)}", name) from None
