"""From a document to the bytes of a page."""

from __future__ import annotations

from functools import cache
from importlib import resources

from jinja2 import DictLoader, Environment, StrictUndefined, Template
from markupsafe import Markup

from candlevault.backtest.tear_sheet import contents
from candlevault.backtest.tear_sheet.document import Document

_FOLDER = "candlevault.backtest.tear_sheet"


def render(document: Document) -> str:
    """The tear sheet as one HTML page that asks for nothing else: no scripts, fonts or files.

    The same document gives the same text everywhere. Every string of it is escaped.
    """
    return _template().render(contents.of(document))


@cache
def _template() -> Template:
    environment = Environment(
        loader=DictLoader({"tear_sheet": _text("tear_sheet.html.jinja")}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["style"] = Markup(_text("tear_sheet.css"))
    return environment.get_template("tear_sheet")


def _text(name: str) -> str:
    return resources.files(_FOLDER).joinpath(name).read_text(encoding="utf-8")
