"""A report as one HTML file that needs nothing else: pictures inside, no scripts, no addresses.

Every text is escaped, so that a scene's name or an error message is shown and never obeyed; the
page forbids scripts and any other content to load, too.
"""

import base64
import html
import re
from collections.abc import Iterable

from analysis.render.document import Block, Bullets, Figure, Section, Table

# Black on white and system fonts: the screen shows what print does.
STYLE = """
:root { color-scheme: light; }
body { margin: 2rem auto; max-width: 62rem; padding: 0 1rem; color: #111; background: #fff;
  font: 1rem/1.5 system-ui, "Segoe UI", "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; }
h2 { margin-top: 2.5rem; padding-bottom: .2rem; border-bottom: 2px solid #111; font-size: 1.25rem; }
p, li { max-width: 48rem; overflow-wrap: anywhere; }
nav ul { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; padding: 0; list-style: none; }
nav a { color: #0b4f8a; }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; text-align: right; white-space: nowrap; vertical-align: top; }
th { border-bottom: 1.5px solid #111; white-space: normal; vertical-align: bottom; }
td { border-bottom: 1px solid #ddd; }
.words { text-align: left; }
figure { margin: 1.5rem 0; }
img { max-width: 100%; height: auto; }
figcaption { max-width: 48rem; font-size: .9rem; color: #333; overflow-wrap: anywhere; }
@media print {
  @page { margin: 15mm; }
  body { margin: 0; max-width: none; padding: 0; font-size: 10pt; }
  nav { display: none; }
  h2 { break-after: avoid; }
  figure, tr { break-inside: avoid; }
  thead { display: table-header-group; }
  .scroll { overflow: visible; }
  table { font-size: 7.5pt; }
  th, td { padding: .1rem .35rem; white-space: normal; }
  img { max-height: 200mm; }
}
"""
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def to_html(title: str, sections: Iterable[Section]) -> str:
    """The report as a page of its own."""
    sections = list(sections)
    entries = [
        f'<li><a href="#{_anchor(place)}">{_escape(section.title)}</a></li>'
        for place, section in enumerate(sections)
    ]
    body = [
        f"<h1>{_escape(title)}</h1>",
        f'<nav aria-label="Contents"><ul>{"".join(entries)}</ul></nav>',
    ]
    for place, section in enumerate(sections):
        blocks = "\n".join(_block(block) for block in section.blocks)
        heading = f'<h2 id="{_anchor(place)}">{_escape(section.title)}</h2>'
        body.append(f"<section>\n{heading}\n{blocks}\n</section>")
    return "\n".join(
        (
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{_escape(title)}</title>",
            f"<style>{STYLE}</style>",
            "</head>",
            "<body>",
            "<main>",
            *body,
            "</main>",
            "</body>",
            "</html>",
            "",
        )
    )


def _block(block: Block) -> str:
    if isinstance(block, str):
        return f"<p>{_escape(block)}</p>"
    if isinstance(block, Bullets):
        return "<ul>" + "".join(f"<li>{_escape(item)}</li>" for item in block.items) + "</ul>"
    if isinstance(block, Figure):
        source = base64.b64encode(block.png).decode("ascii")
        return (
            f'<figure><img alt="{_escape(block.alt)}" src="data:image/png;base64,{source}">'
            f"<figcaption>{_escape(block.caption)}</figcaption></figure>"
        )
    return _table(block)


def _table(table: Table) -> str:
    style = ['class="words"' if name in table.words else "" for name in table.header]

    def row(tag: str, cells: Iterable[str], scope: str = "") -> str:
        parts = [
            f"<{' '.join(filter(None, (tag, scope, kind)))}>{_escape(cell)}</{tag}>"
            for cell, kind in zip(cells, style, strict=True)
        ]
        return f"<tr>{''.join(parts)}</tr>"

    head = row("th", table.header, 'scope="col"')
    body = "\n".join(row("td", cells) for cells in table.rows)
    # Wide tables scroll in a box of their own, which the keyboard reaches.
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="table">\n'
        f"<table>\n<thead>{head}</thead>\n<tbody>\n{body}\n</tbody>\n</table>\n</div>"
    )


def _anchor(place: int) -> str:
    return f"section-{place + 1}"


def _escape(text: str) -> str:
    """Text as it is, without characters that no page may hold."""
    return html.escape(re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]", "\ufffd", text))
