"""The report's part on parameters: what mattered in the search, and where the winners lie."""

from collections.abc import Iterable

from analysis.figures.search import (
    GAIN,
    WARM,
    draw_gains,
    draw_two_parameters,
    draw_warm_classes,
    finished_with,
)
from analysis.inference.importance import CHANCE, FEWEST_TRIALS, importances
from analysis.read_study import Stratum, Study, value_of
from analysis.render.document import MISSING, Block, Figure, Section, Table, number, points
from analysis.tables.parameters import show
from focusnet.config import short_names


def parameters_section(study: Study) -> Section:
    """Winners and edges, importances, and the gain against each parameter."""
    title = "Parameters"
    if not study.winners or not study.parameters:
        return Section(title, ["No trial has finished yet."])
    blocks: list[Block] = [
        "Everything here is of the search: one seed, and accuracies on select, which it "
        "maximised. High points are partly luck.",
        *_importances(study),
        *gain_figures(study),
        *warm_figures(study),
    ]
    return Section(title, blocks)


def edge_notes(study: Study, strata: Iterable[Stratum]) -> Iterable[str]:
    """Which winners sit at the edge of a range: there the range has decided, not the search."""
    for stratum in strata:
        where = f"{stratum.label}: " if study.stratify else ""
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
            "How much each parameter decided cannot be told: that takes at least "
            f"{FEWEST_TRIALS} finished trials a search and two parameters."
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
        "with shuffled accuracies; the share of one that does not may be chance alone."
    )
    yield Table(header, rows, words=frozenset({"search"}))


def gain_figures(study: Study) -> list[Figure]:
    """The gain against each numeric parameter."""
    parameters = [one for one in study.parameters.values() if one.is_numeric]
    if not parameters or not any(len(finished_with(one, GAIN)) for one in study.strata):
        return []
    return [
        Figure(
            "gains.png",
            "Gain of every finished trial on select against the searched parameters; the winners "
            "are ringed, 'edge' marks those at the edge of a range. A trial's accuracy, not its "
            "gain, makes the winner; with one template a search both say the same.",
            "Scatter plots of the gain in points against each searched parameter.",
            draw_gains(study, parameters),
        )
    ]


def warm_figures(study: Study) -> list[Figure]:
    """The gain against the number of warm classes."""
    if not any(len(finished_with(stratum, GAIN, WARM)) for stratum in study.strata):
        return []
    return [
        Figure(
            "warm_classes.png",
            "Gain of every finished trial on select against the mean number of warm classes in its "
            "masks; the winners are ringed. At 1 the masks hold the label alone and FocusNet "
            "cannot differ from label smoothing; where they hold all classes they say nothing.",
            "Scatter plot of the gain in points against the mean number of warm classes.",
            draw_warm_classes(study),
        )
    ]


def landscape_section(study: Study, one: str, other: str) -> Section:
    """Two parameters against each other in each stratum, and each stratum's better half.

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
            "The winner, the range that holds the better half of the trials, and the median gain "
            "on select. A better half that spans the whole range says that the parameter hardly "
            "matters, or that noise decides.",
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
                f"Gain on select of every finished trial by {one} and {other}; blue is a gain, red "
                "a loss, the winners are ringed.",
                f"Scatter plots of {other} against {one}, coloured by gain, one for each search.",
                draw_two_parameters(study, parameters[one], parameters[other]),
            ),
        ],
    )


def _span(values: list[float]) -> str:
    return f"{show(min(values))} to {show(max(values))}" if values else MISSING
