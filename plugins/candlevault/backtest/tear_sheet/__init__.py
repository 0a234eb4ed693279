"""One self-contained HTML page of a finished backtest."""

from candlevault.backtest.tear_sheet.document import Document, of_stored
from candlevault.backtest.tear_sheet.rendering import render

__all__ = ["Document", "of_stored", "render"]
