"""Shows which searched parameters mattered, and which winners are at the edge of a range."""

from collections.abc import Iterable

from analysis.figures.search import (
    GAIN,
    WARM,
    draw_gains,
    draw_two_parameters,
    draw_warm_classes,
    finished_with,
)
from analysis.figures.surface import draw_surface
from analysis.inference.importance import CHANCE, FEWEST_TRIALS, importances
from analysis.read_study import Stratum, Study, value_of
from analysis.render.document import MISSING, Block, Figure, Section, Table, number, points
from analysis.sections.wording import stratum_prefix
from analysis.tables.parameters import show
from focusnet.config import short_names


def parameters_section(study: Study) -> Section:
    """Importance of each parameter, and plots of the gain against it."""
    title = "Parameters"
    if not study.winners or not study.parameters:
        return Section(title, ["No trial has finished yet."])
    blocks: list[Block] = [
        "All of this is from the search: one seed, and accuracies on select, which the search "
        "maximised. High points are partly luck.",
        *_importances(study),
        *_gain_figures(study),
        *_warm_figures(study),
    ]
    return Section(title, blocks)


def edge_notes(study: Study, strata: Iterable[Stratum]) -> Iterable[str]:
    """Warn of winners at the edge of a range, where the range limited the search."""
    for stratum in strata:
        where = stratum_prefix(study, stratum)
        for path, parameter in study.parameters.items():
            value = None if stratum.winner is None else stratum.winner.get(path)
            edge = parameter.edge(value)
            if edge:
                yield (
                    f"{where}the winner's {path} = {show(value)} is at the {edge} edge of its "
                    f"range ({parameter}): better values may lie outside."
                )


def _importances(study: Study) -> Iterable[Block]:
    found = {
        stratum.label: importances(
            stratum.trials[stratum.trials["status"] == "finished"], study.parameters, study.metric
        )
        for stratum in study.strata
    }
    if all(table is None for table in found.values()):
        yield (
            f"Parameter importance is not shown: it needs at least {FEWEST_TRIALS} finished trials "
            "per search and two parameters."
        )
        return
    names = short_names(study.parameters)
    rows = []
    for label, table in found.items():
        cells = []
        for path in names:
            if table is None or path not in table.index:
                cells += [MISSING, MISSING]
            else:
                share, stands_out = table.loc[path, ["share", "stands_out"]]
                cells += [number(100 * share, 0), "yes" if stands_out else "no"]
        rows.append((label, *cells))
    header = ["search"]
    for name in names.values():
        header += [f"{name} %", f"{name}: stands out"]
    yield (
        "Importance: each parameter's share in what separates the better half of a search's "
        "trials from all (Optuna's PED-ANOVA). Shares add up to 100 % even if nothing matters. A "
        f"parameter stands out if it separates them more than in {100 * CHANCE:g} % of searches "
        "with shuffled accuracies; otherwise its share may be chance alone."
    )
    yield Table(header, rows, words=frozenset({"search"}))


def _gain_figures(study: Study) -> list[Figure]:
    """The fitted surface along each parameter; without one, scatter plots of the gain."""
    if any(stratum.is_estimated for stratum in study.strata):
        return _surface_figure(study)
    parameters = [one for one in study.parameters.values() if one.is_numeric]
    if not parameters or not any(len(finished_with(one, GAIN)) for one in study.strata):
        return []
    return [
        Figure(
            "gains.png",
            "Gain of every finished trial on select against the searched parameters. Winners are "
            "ringed; 'edge' marks those at the edge of a range. The winner has the highest "
            "accuracy, not the highest gain; with one template per search the two agree.",
            "Scatter plots of the gain in points against each searched parameter.",
            draw_gains(study, parameters),
        )
    ]


def _surface_figure(study: Study) -> list[Figure]:
    """The estimates of a Gaussian process that chose the winners, along each parameter."""
    searched = [one for one in study.parameters.values() if one.size > 1]
    if not searched:
        return []
    others = trials = ""
    if len(searched) > 1:
        others = " along each parameter, while the others have the winner's values"
        trials = ", whose other settings differ,"
    return [
        Figure(
            "surface.png",
            f"Estimated {study.metric} in %: what all trials of all searches together say{others} "
            "(mean and one standard deviation of a Gaussian process), every finished trial"
            f"{trials} and each winner, the setting estimated best. Where a curve stays within its "
            "band, the parameter hardly matters or noise hides it. High trials are partly luck.",
            "Curves with bands of the estimated accuracy along each searched parameter, with the "
            "trials as points, for each search.",
            draw_surface(study, searched),
        )
    ]


def _warm_figures(study: Study) -> list[Figure]:
    """A scatter plot of the gain against the number of warm classes."""
    if not any(len(finished_with(stratum, GAIN, WARM)) for stratum in study.strata):
        return []
    return [
        Figure(
            "warm_classes.png",
            "Gain of every finished trial on select against the mean number of warm classes in its "
            "masks. Winners are ringed. At 1 the masks hold the label alone and FocusNet cannot "
            "differ from label smoothing; masks that hold all classes tell FocusNet nothing.",
            "Scatter plot of the gain in points against the mean number of warm classes.",
            draw_warm_classes(study),
        )
    ]


def landscape_section(study: Study, one: str, other: str) -> Section:
    """Gain by two parameters in each stratum, and the range of each stratum's better half.

    Args:
        one, other: dotted paths, such as ``focus.weight`` and ``focus.threshold``.
    """
    title = f"{one} and {other}"
    parameters = study.parameters
    lacking = [p for p in (one, other) if p not in parameters or not parameters[p].is_numeric]
    if lacking:
        return Section(title, [f"{' and '.join(lacking)}: not searched as a number in this study."])
    if not any(len(finished_with(stratum, one, other, GAIN)) for stratum in study.strata):
        return Section(title, ["No trial has finished yet."])
    rows = []
    for stratum in study.strata:
        done = finished_with(stratum, one, other, GAIN)
        half = done.nlargest((len(done) + 1) // 2, GAIN)
        rows.append(
            (
                stratum.label,
                str(len(done)),
                *(show(value_of(stratum.winner, path)) for path in (one, other)),
                *(_span(half[path].astype(float).tolist()) for path in (one, other)),
                points(float(done[GAIN].median()) if len(done) else float("nan")),
            )
        )
    return Section(
        title,
        [
            "The winner, the range of the better half of the trials, and the median gain on "
            "select. If the better half spans the whole range, the parameter hardly matters or "
            "noise decides.",
            Table(
                (
                    "search",
                    "trials",
                    f"{one}: winner",
                    f"{other}: winner",
                    f"{one}: better half",
                    f"{other}: better half",
                    "median gain",
                ),
                rows,
                words=frozenset({"search"}),
            ),
            Figure(
                "landscape.png",
                f"Gain on select of every finished trial by {one} and {other}. Blue is a gain, red "
                "a loss; winners are ringed.",
                f"Scatter plots of {other} against {one}, coloured by gain, one for each search.",
                draw_two_parameters(study, parameters[one], parameters[other]),
            ),
        ],
    )


def _span(values: list[float]) -> str:
    return f"{show(min(values))} to {show(max(values))}" if values else MISSING
