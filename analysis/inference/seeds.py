"""How far seeds and locations leave an effect open: interval, p-value, smallest detectable effect.

A study trains each arm with several seeds and tests all trainings on the same locations, so the
two sources of noise are crossed, as readers and cases are in diagnostic imaging. Everything here
works on arrays of any number of studies at once; the calibration runs these very functions.
Equations, sources and how often they err: docs/statistics.md.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

from analysis.inference.locations import LEVEL, RESAMPLES, SEED, draw_locations

Floats = NDArray[np.float64]
POWER = 0.8
FLIPS = 1000
_ROUNDING = 1e-9  # a standard error of a millionth of a point is none


@dataclass(frozen=True)
class Design:
    """The clips behind the differences.

    Attributes:
        scene: (locations,) number of each location's scene, 0 to scenes - 1.
        clips: (locations,) number of clips.
    """

    scene: NDArray[np.int64]
    clips: NDArray[np.int64]

    @property
    def membership(self) -> Floats:
        """(locations, scenes) 1 where the location is of the scene."""
        return np.eye(int(self.scene.max()) + 1)[self.scene]

    @property
    def weights(self) -> Floats:
        """(locations,) what one right clip adds to the macro accuracy."""
        per_scene = self.clips @ self.membership
        return 1 / per_scene[self.scene] / len(per_scene)

    @property
    def locations_of_scene(self) -> NDArray[np.int64]:
        return np.bincount(self.scene)


@dataclass(frozen=True)
class Components:
    """The effect and the variances of its estimate, arrays with one value a study.

    ``location`` is the variance from locations of the effect averaged over seeds; the share
    ``residual`` of it is noise of single trainings at single locations, which ``seed`` holds, too.
    """

    effect: Floats
    seed: Floats
    location: Floats
    residual: Floats
    seed_df: int
    location_df: Floats
    deviations: Floats  # (..., locations) what each location adds to the effect; see above

    @property
    def persistent(self) -> Floats:
        """Variance from locations that further seeds would not take away."""
        return np.maximum(self.location - self.residual, 0)

    @property
    def standard_error(self) -> Floats:
        return np.sqrt(self.seed + self.persistent)

    @property
    def df(self) -> Floats:
        """Satterthwaite's degrees of freedom of ``standard_error``, at least those of the seeds."""
        uncertainty = self.seed**2 / self.seed_df + self.persistent**2 / self.location_df
        with np.errstate(invalid="ignore"):
            df = (self.seed + self.persistent) ** 2 / uncertainty
        return np.fmax(df, self.seed_df)

    def critical_value(self, alpha: float) -> Floats:
        """Standard errors that a two-sided test at ``alpha`` asks for.

        Student's quantiles of seeds and of locations, weighted by their variances (Cochran and
        Cox, Experimental Designs, 1957, section 4.14): slightly strict, where a quantile with
        Satterthwaite's ``df`` is slightly lax, because few seeds may hide their own noise.
        """
        of_seeds = special.stdtrit(self.seed_df, 1 - alpha / 2)
        of_locations = special.stdtrit(self.location_df, 1 - alpha / 2)
        variance = self.seed + self.persistent
        with np.errstate(invalid="ignore"):
            mixed = (self.seed * of_seeds + self.persistent * of_locations) / variance
        return np.where(variance > 0, mixed, of_seeds)


def variance_components(differences: NDArray[np.generic], design: Design) -> Components:
    """Split the noise of an effect into that of seeds and that of locations.

    Args:
        differences: (..., seeds, locations) right clips of the arm less those of the other arm.
        design: what scene the locations have and how many clips.

    Raises:
        ValueError: fewer than two seeds, whose noise cannot be seen.
    """
    counts = np.asarray(differences, dtype=np.float64)
    seeds = counts.shape[-2]
    if seeds < 2:
        raise ValueError(f"{seeds} seed: the noise between trainings needs at least 2")
    by_seed = counts @ design.weights
    # A scene's difference is a ratio of sums over locations; these are its linear parts.
    membership, n = design.membership, design.locations_of_scene
    scene_differences = (counts @ membership) / (design.clips @ membership)
    unbiased = np.sqrt(n / np.maximum(n - 1, 1))  # as drawing L - 1 of L locations; 1 is no noise
    parts = counts - scene_differences[..., design.scene] * design.clips
    parts = parts * (design.weights * unbiased[design.scene])
    deviations = parts.mean(axis=-2)
    by_scene = deviations**2 @ membership
    location = by_scene.sum(axis=-1)
    residual = ((parts - deviations[..., None, :]) ** 2).sum(axis=(-2, -1)) / seeds / (seeds - 1)
    with np.errstate(invalid="ignore"):
        location_df = location**2 / (by_scene**2 / np.maximum(n - 1, 1)).sum(axis=-1)
    return Components(
        effect=by_seed.mean(axis=-1),
        seed=by_seed.var(axis=-1, ddof=1) / seeds,
        location=location,
        residual=residual,
        seed_df=seeds - 1,
        location_df=np.where(location > 0, location_df, 1.0),
        deviations=deviations,
    )


def bootstrap_effects(
    differences: NDArray[np.generic],
    design: Design,
    *,
    resamples: int = RESAMPLES,
    generator: np.random.Generator | None = None,
    all_units: bool = False,
) -> Floats:
    """Effects of resampled studies: seeds are drawn, then locations within each scene.

    All drawn seeds see the same drawn locations, as the real ones do. Of R seeds R - 1 are drawn
    and of L locations L - 1 (``effects.draw_locations``).

    Args:
        differences: (..., seeds, locations), see ``variance_components``.
        all_units: draw R of R and L of L, the textbook's way; to show that it is too narrow.

    Returns:
        (..., resamples)
    """
    generator = np.random.default_rng(SEED) if generator is None else generator
    counts = np.asarray(differences, dtype=np.float64)

    def draw(units: int) -> NDArray[np.int64]:
        if all_units:
            return generator.multinomial(units, np.full(units, 1 / units), size=resamples)
        return draw_locations(generator, units, resamples)

    seeds = draw(counts.shape[-2])
    shares = seeds / seeds.sum(axis=1, keepdims=True)
    effects = np.zeros((*counts.shape[:-2], resamples))
    scenes = len(design.locations_of_scene)
    for scene in range(scenes):
        of_scene = design.scene == scene
        drawn = draw(int(of_scene.sum()))
        by_seed = counts[..., of_scene] @ drawn.T  # (..., seeds, resamples)
        right = np.einsum("...rb,br->...b", by_seed, shares)
        effects += right / (drawn @ design.clips[of_scene]) / scenes
    return effects


def interval(
    components: Components, resampled: Floats, level: float = LEVEL
) -> tuple[Floats, Floats]:
    """Ends of the effect's interval: the bootstrap's percentiles, set right for few seeds.

    The bootstrap gives the shape. Its distances from the effect are stretched so that its standard
    deviation is ``standard_error`` and its tails are as far out as ``critical_value``: plain
    percentiles of five seeds miss the truth up to three times too often, as Hesterberg (The
    American Statistician 69, 2015) warns.
    """
    tail = (1 - level) / 2
    spread = resampled.std(axis=-1)
    widths = components.critical_value(2 * tail) / special.ndtri(1 - tail)
    with np.errstate(invalid="ignore", divide="ignore"):
        stretch = np.where(spread > 0, widths * components.standard_error / spread, 1.0)
    low, high = np.quantile(resampled, [tail, 1 - tail], axis=-1)
    effect = components.effect
    return effect + (low - effect) * stretch, effect + (high - effect) * stretch


def randomisation_p(
    components: Components,
    *,
    flips: int = FLIPS,
    generator: np.random.Generator | None = None,
) -> Floats:
    """Two-sided p-value of no effect on average over trainings and over locations.

    Under that hypothesis the locations' deviations are as likely the other way round: their signs
    are flipped. So could the seeds' be, but 2 of the 2^5 flips of five seeds are always as extreme
    as the data, so that p never falls below 0.0625. Their differences are rotated instead
    (Langsrud, Statistics and Computing 15, 2005), which holds for normal noise
    of seeds and whose studentised mean has Student's t distribution: no draw is needed for it.

    Returns 1 where nothing varies at all, for then nothing can be told.
    """
    generator = np.random.default_rng(SEED) if generator is None else generator
    signs = generator.choice([-1.0, 1.0], size=(components.deviations.shape[-1], flips))
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.sqrt(components.persistent / components.location)
    share = np.where(components.location > 0, share, 0.0)
    walks = (components.deviations * share[..., None]) @ signs
    effect = np.abs(components.effect)[..., None]
    scale = np.sqrt(np.maximum(components.seed, 1e-300))[..., None]
    df = float(components.seed_df)
    above = special.stdtr(df, (walks - effect) / scale)
    below = special.stdtr(df, (-walks - effect) / scale)
    p = np.minimum((above + below).mean(axis=-1), 1.0)
    return np.where(components.standard_error > _ROUNDING, p, 1.0)


def detectable_effect(
    components: Components, *, alpha: float = 1 - LEVEL, power: float = POWER
) -> Floats:
    """The true effect of which the sign would be claimed at ``alpha`` with probability ``power``.

    From the noise alone, not from the effect that was found. For strata under Holm's correction
    give the strictest level, ``alpha`` over the number of strata.
    """

    def ratio(critical: float, df: float) -> float:
        """Effect in standard errors: the studentised effect has a noncentral t distribution."""
        return float(
            optimize.brentq(
                lambda shift: float(stats.nct.sf(critical, df, shift)) - power,
                0.0,
                4 * critical + 10,
            )
        )

    critical, df = np.broadcast_arrays(components.critical_value(alpha), components.df)
    ratios = [ratio(*pair) for pair in zip(critical.ravel(), df.ravel(), strict=True)]
    return components.standard_error * np.reshape(ratios, critical.shape)


def holm(p: NDArray[np.float64]) -> Floats:
    """Holm's adjusted p-values of one family (Scandinavian Journal of Statistics 6, 1979).

    Args:
        p: (..., tests); NaN, a test that could not be made, stays NaN and counts for nothing.
    """
    p = np.asarray(p, dtype=np.float64)
    order = np.argsort(p, axis=-1)  # NaN last
    tests = (~np.isnan(p)).sum(axis=-1, keepdims=True)
    factors = np.maximum(tests - np.arange(p.shape[-1]), 1)
    ordered = np.take_along_axis(p, order, axis=-1) * factors
    adjusted = np.minimum(np.maximum.accumulate(ordered, axis=-1), 1.0)
    result = np.empty_like(p)
    np.put_along_axis(result, order, adjusted, axis=-1)
    return result


def claims(low: Floats, high: Floats, adjusted_p: Floats, alpha: float = 1 - LEVEL) -> Floats:
    """1 for a gain, -1 for a loss, 0 for no evidence of either.

    A claim needs both: the adjusted p-value, and an interval on one side of 0.
    """
    significant = np.asarray(adjusted_p) <= alpha
    gain, loss = significant & (low > 0), significant & (high < 0)
    return gain.astype(np.float64) - loss.astype(np.float64)
