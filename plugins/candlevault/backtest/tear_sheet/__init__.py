"""One self-contained HTML page of a finished backtest."""

from candlevault.backtest.tear_sheet.document import Document, of_stored
from candlevault.backtest.tear_sheet.rendering import render
from candlevault.backtest.tear_sheet.stored import of_backtest

__all__ = ["Document", "of_backtest", "of_stored", "render"]
