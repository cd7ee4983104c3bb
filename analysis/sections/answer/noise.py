"""States the noise of the study itself: of trainings, of locations, and of both together."""

from analysis.read_study import Study
from analysis.render.document import Block, Section, Table, number
from analysis.tables.predictions import TEMPLATE

HEADER = ("stratum", "seeds", "a training", "a pair of trainings")


def noise_section(study: Study) -> Section | None:
    """Standard deviations in points; None without fresh seeds."""
    one = study.claims.comparisons[TEMPLATE]
    noise = one.noise
    if noise is None:
        return None
    rows = [
        (study.labels[value], str(seeds), number(training, 2), number(pair, 2))
        for value, seeds, training, pair in zip(
            one.seeds, noise.seeds, noise.training_sd, noise.difference_sd, strict=True
        )
    ]
    if len(rows) > 1:
        rows.append(("all", str(sum(noise.seeds)), number(noise.pooled_training_sd, 2),
                     number(noise.pooled_difference_sd, 2)))  # fmt: skip
    halves = 2 if study.plan.cross_fit else 1
    twice = [(max(1, 2 * count // halves),) * halves for count in noise.seeds]
    blocks: list[Block] = [
        "Standard deviations in points, as they are observed. A training: the macro accuracy of "
        "one training of FocusNet or its template over seeds, which contains its luck at single "
        "locations. A pair: the difference of FocusNet and its template of the same seed, of "
        "which effects are means.",
        Table(HEADER, rows, frozenset({"stratum"})),
        f"A location adds {number(noise.location_sd, 2)} points to the average effect in every "
        "training (standard deviation between the locations of a scene). More seeds do not "
        "reduce it: with the locations of this study, "
        f"{number(noise.location_variance**0.5, 2)} points of the average's standard error are "
        "from it. "
        f"A single pair of trainings at a single location varies by {number(noise.cell_sd, 1)} "
        "points around that. With twice as many seeds the average's standard error would be about "
        f"{number(noise.effect_sd(twice), 2)} points. The next study can be planned from these "
        "numbers: python study/run.py --plan --detect 1 --noise with this study's folder.",
    ]
    return Section("Noise", blocks)
