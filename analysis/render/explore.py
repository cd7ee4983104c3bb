"""Renders the page to explore a study: one HTML file with its data and plotly.js inside.

Its content security policy allows the page's own two scripts by their hashes and nothing else: no
other script, and no request to anywhere. Jinja escapes the data, the page's script all text that it
shows.
"""

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup
from plotly.offline import get_plotlyjs

from analysis.render.html import page_environment

_SCRIPTS = ("explore_figures.js", "explore.js")  # in the order in which the browser needs them


def to_explore_html(title: str, data: Mapping[str, Any]) -> str:
    """Return the page; ``data`` is what ``exploration.page_data.explore_data`` collects."""
    folder = Path(__file__).parent
    own = "\n".join((folder / name).read_text(encoding="utf-8") for name in _SCRIPTS)
    scripts = [get_plotlyjs(), own]
    environment = page_environment()
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    return environment.get_template("explore.html.jinja").render(
        title=title,
        data=dict(data),
        scripts=[Markup(script) for script in scripts],
        hashes=[_hash(script) for script in scripts],
    )


def _hash(script: str) -> str:
    """What a content security policy calls a script."""
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
