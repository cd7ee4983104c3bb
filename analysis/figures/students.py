"""Draws what teachers gain against what their students gain."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from analysis.figures.style import drawn, legend, panels, style_of
from focusnet.statistics.pooled import Effect


@dataclass(frozen=True)
class GainPoint:
    """FocusNet's gain over one arm in one stratum, in points: as a teacher, and at the student."""

    stratum: str
    arm: str
    teacher: Effect
    student: Effect


@drawn
def draw_gains(points: Sequence[GainPoint]) -> Figure:
    """The students' gains against the teachers': a panel for each stratum, a colour for an arm."""
    strata = list(dict.fromkeys(one.stratum for one in points))
    arms = list(dict.fromkeys(one.arm for one in points))
    figure, axes_of = panels(len(strata), size=(3.0, 3.0))
    reach = max(
        abs(float(end[0]))
        for one in points
        for effect in (one.teacher, one.student)
        for end in (effect.estimate, *effect.interval())
        if np.isfinite(end[0])
    )
    for axes, stratum in zip(axes_of, strata, strict=True):
        axes.axhline(0, color="black", linewidth=0.8)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.plot([-reach, reach], [-reach, reach], color="#999999", linestyle=":", linewidth=1)
        for one in points:
            if one.stratum != stratum:
                continue
            style = style_of(arms.index(one.arm))
            x, y = float(one.teacher.estimate[0]), float(one.student.estimate[0])
            across, up = (
                [float(end[0]) for end in effect.interval()]
                for effect in (one.teacher, one.student)
            )
            axes.plot(across, [y, y], color=style["color"], linewidth=1)
            axes.plot([x, x], up, color=style["color"], linewidth=1)
            axes.plot(
                x, y, color=style["color"], marker=style["marker"], linestyle="", label=one.arm
            )
        axes.set_title(stratum)
        axes.set_xlabel("gain of the teacher (points)")
    axes_of[0].set_ylabel("gain of the student (points)")
    legend(figure, axes_of)
    return figure
