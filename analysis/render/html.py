"""Renders a report as one HTML file with all pictures inside, no scripts and no links to load.

The template escapes all text, so that a scene's name or an error message cannot add markup. Its
content security policy also forbids scripts and any content from elsewhere.
"""

import base64
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from analysis.render.document import Bullets, Figure, Section

_INVALID = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")  # in HTML or UTF-8


def to_html(title: str, sections: Iterable[Section]) -> str:
    """Return the report as a self-contained page."""
    environment = page_environment()
    environment.filters["base64"] = lambda data: base64.b64encode(data).decode("ascii")
    environment.tests["bullets"] = lambda block: isinstance(block, Bullets)
    environment.tests["figure"] = lambda block: isinstance(block, Figure)
    template = environment.get_template("report.html.jinja")
    return template.render(title=title, sections=list(sections))


def page_environment() -> Environment:
    """The templates of this folder, which escape all that they are given."""
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_replace_invalid,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _replace_invalid(value: Any) -> Any:
    """Replace the characters that a page must not hold; called for each value, before escaping."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return _INVALID.sub("\ufffd", value)
    return value
