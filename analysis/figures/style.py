"""Style and parts of the report's figures: readable in grey and with every colour vision.

Functions that draw return a matplotlib figure; the decorator ``drawn`` turns it into PNG bytes.
"""

import functools
import io
import math
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec

import matplotlib

matplotlib.use("Agg")  # needs no display

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter
from PIL import Image

from analysis.tables.parameters import Parameter

# Okabe and Ito's colours without yellow, which is lost in print. Each has its own marker.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#56B4E9", "#E69F00")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
STAGE_STYLES: dict[str, Any] = {
    "template": {"color": COLOURS[0], "linestyle": "--", "marker": "o"},
    "focus": {"color": COLOURS[1], "linestyle": "-", "marker": "s"},
}
CONTROL_STYLE: dict[str, Any] = {"color": COLOURS[2], "linestyle": "-.", "marker": "^"}
PANEL = (3.6, 3.0)  # inches
PANELS_A_ROW = 3
MARGIN = 0.05  # on each side of a range, as a share of it
DPI = 120
PALETTE = 256  # colours per figure
STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "text.parse_math": False,  # a scene's name may contain a dollar sign
}

P = ParamSpec("P")


def drawn(draw: Callable[P, Figure]) -> Callable[P, bytes]:
    """Decorator: draw in the report's style and return the figure as PNG bytes."""

    @functools.wraps(draw)
    def png(*arguments: P.args, **settings: P.kwargs) -> bytes:
        with matplotlib.rc_context(STYLE):
            whole, small = io.BytesIO(), io.BytesIO()
            draw(*arguments, **settings).savefig(whole, format="png", dpi=DPI)
            # Plots have few colours: a palette reduces the file to a third.
            picture = Image.open(whole).convert("RGB")
            picture = picture.quantize(PALETTE, dither=Image.Dither.NONE)
            picture.save(small, format="png", optimize=True)
            return small.getvalue()

    return png


def panels(
    count: int,
    *,
    share_x: bool = False,
    share_y: bool = True,
    size: tuple[float, float] = PANEL,
) -> tuple[Figure, list[Axes]]:
    """A figure with ``count`` panels, three per row."""
    columns = min(count, PANELS_A_ROW)
    rows = math.ceil(count / columns)
    width, height = size
    figure = Figure(figsize=(width * columns + 0.6, height * rows + 0.5), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=share_x, sharey=share_y, squeeze=False).ravel()
    for axes in grid[count:]:
        axes.set_visible(False)
    return figure, list(grid[:count])


def label_rows(axes_of_panels: Sequence[Axes], label: str) -> None:
    """Label the vertical axis of the first panel in each row."""
    for axes in axes_of_panels[::PANELS_A_ROW]:
        axes.set_ylabel(label)


def legend(figure: Figure, axes_of_panels: Sequence[Axes]) -> None:
    """Add one legend above all panels, with the entries of all of them."""
    entries: dict[str, Any] = {}
    for axes in axes_of_panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    longest = max((len(label) for label in entries), default=1)
    columns = int(figure.get_figwidth() / (0.08 * longest + 0.55))  # inches at this font size
    figure.legend(
        list(entries.values()), list(entries), loc="outside upper center", ncols=max(1, columns)
    )


def style_of(place: int) -> dict[str, Any]:
    """Colour and marker of the stratum number ``place``."""
    return {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place % len(MARKERS)]}


def show_range(axes: Axes, parameter: Parameter, *, vertical: bool = False) -> None:
    """Show all of the searched range, so that points at its edge are visible as such."""
    axis = axes.yaxis if vertical else axes.xaxis
    set_limits: Callable[..., Any] = axes.set_ylim if vertical else axes.set_xlim
    low, high = min(parameter.values), max(parameter.values)
    if parameter.is_logarithmic:
        (axes.set_yscale if vertical else axes.set_xscale)("log")
        # 0.1, 1, 10 are easier to read than powers of ten.
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
        margin = (high / low) ** MARGIN
        set_limits(low / margin, high * margin)
    elif low < high:
        margin = (high - low) * MARGIN
        set_limits(low - margin, high + margin)
    if parameter.kind == "choice":
        axis.set_ticks(parameter.values)


def parameter_label(parameter: Parameter) -> str:
    """The dotted path, with its unit if it has one."""
    units = {"threshold": " (probability)", "weight": " (factor)"}
    return parameter.path + units.get(parameter.path.rpartition(".")[2], "")
