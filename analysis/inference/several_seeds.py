"""Computes interval, p-value and detectable effect from several seeds and test locations.

A study trains each arm with several seeds and tests all trainings on the same locations, so the
two sources of noise are crossed, as readers and cases are in diagnostic imaging. All functions
take arrays of any number of studies at once; the calibration runs these same functions.
docs/statistics.md has the equations, the sources and the error rates.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

from focusnet.location_interval import LEVEL, RESAMPLES, SEED, resample_counts

Floats = NDArray[np.float64]
FEWEST_SEEDS = 2  # with one, the noise between trainings is unknown
POWER = 0.8
FLIPS = 1000
_ROUNDING = 1e-9  # smaller standard errors are rounding errors


@dataclass(frozen=True)
class Design:
    """Scenes and locations of the test clips.

    Attributes:
        scene: (locations,) index of each location's scene, 0 to scenes - 1.
        clips: (locations,) number of clips.
    """

    scene: NDArray[np.int64]
    clips: NDArray[np.int64]

    @property
    def membership(self) -> Floats:
        """(locations, scenes) 1 where the location belongs to the scene."""
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
    """The effect and the variance of its estimate in parts; arrays with one value per study.

    Attributes:
        effect: mean over seeds of the difference in macro accuracy.
        seed: variance from seeds, noise of single trainings at single locations included.
        location: variance from locations, the same noise included.
        residual: that noise, which ``seed`` and ``location`` both contain.
        seed_df, location_df: degrees of freedom.
        deviations: (..., locations) how far each location moves the effect from its scene's mean.
    """

    effect: Floats
    seed: Floats
    location: Floats
    residual: Floats
    seed_df: int
    location_df: Floats
    deviations: Floats

    @property
    def persistent(self) -> Floats:
        """Variance from locations that more seeds would not reduce."""
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
        """Critical value of a two-sided test at ``alpha``, in standard errors.

        Student's quantiles for seeds and for locations, weighted by their variances (Cochran and
        Cox, Experimental Designs, 1957, section 4.14). This is slightly too strict. A quantile
        with Satterthwaite's ``df`` is slightly too lax, because the variance between few seeds is
        sometimes far too small.
        """
        of_seeds = special.stdtrit(self.seed_df, 1 - alpha / 2)
        of_locations = special.stdtrit(self.location_df, 1 - alpha / 2)
        variance = self.seed + self.persistent
        with np.errstate(invalid="ignore"):
            mixed = (self.seed * of_seeds + self.persistent * of_locations) / variance
        return np.where(variance > 0, mixed, of_seeds)


def variance_components(differences: NDArray[np.generic], design: Design) -> Components:
    """Split the variance of an effect into that from seeds and that from locations.

    Args:
        differences: (..., seeds, locations) right clips of one arm minus those of the other.
        design: scenes and clips of the locations.

    Raises:
        ValueError: fewer than two seeds.
    """
    counts = np.asarray(differences, dtype=np.float64)
    seeds = counts.shape[-2]
    if seeds < FEWEST_SEEDS:
        raise ValueError(f"{seeds} seed: the noise between trainings needs at least 2")
    by_seed = counts @ design.weights
    # A scene's difference is a ratio of sums over locations: linearise it.
    membership, n = design.membership, design.locations_of_scene
    scene_differences = (counts @ membership) / (design.clips @ membership)
    unbiased = np.sqrt(n / np.maximum(n - 1, 1))  # as drawing L - 1 of L locations does
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
    """Effects of bootstrap samples: seeds are drawn, then locations within each scene.

    All drawn seeds get the same drawn locations, as all real ones have the same. Of R seeds R - 1
    are drawn and of L locations L - 1, see ``location_interval.resample_counts``.

    Args:
        differences: (..., seeds, locations), see ``variance_components``.
        design: scenes and clips of the locations.
        resamples: number of bootstrap samples.
        generator: by default one with a fixed seed.
        all_units: draw R of R and L of L instead, as textbooks do; the calibration shows that this
            is too narrow.

    Returns:
        (..., resamples)
    """
    generator = np.random.default_rng(SEED) if generator is None else generator
    counts = np.asarray(differences, dtype=np.float64)

    def draw(units: int) -> NDArray[np.int64]:
        if all_units:
            return generator.multinomial(units, np.full(units, 1 / units), size=resamples)
        return resample_counts(generator, units, resamples)

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
    """Ends of the effect's interval: bootstrap percentiles, corrected for few seeds.

    The bootstrap gives the shape only. Its distances from the effect are stretched until its
    standard deviation is ``standard_error`` and its tails reach ``critical_value``. Without this,
    percentiles from five seeds miss the true effect up to three times too often, as Hesterberg
    (The American Statistician 69, 2015) warns.

    Args:
        components: of the effect.
        resampled: (..., resamples), see ``bootstrap_effects``.
        level: of the interval.
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
    """Two-sided p-value of no effect on average over trainings and locations.

    Under this hypothesis the deviations of locations are symmetric: their signs are flipped. For
    seeds that would not do: 2 of the 2^5 flips of five seeds are always as extreme as the data, so
    that p would never fall below 0.0625. Their differences are rotated instead (Langsrud,
    Statistics and Computing 15, 2005). This is valid for normal noise of seeds, and the
    studentised mean of a rotated vector has Student's t distribution, so nothing is drawn for it.

    Args:
        components: of the effect.
        flips: number of random sign flips of the locations.
        generator: by default one with a fixed seed.

    Returns:
        (...) 1 where nothing varies, because there is nothing to compare the effect with.
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
    """The true effect whose sign would be claimed at ``alpha`` with probability ``power``.

    It depends on the noise only, not on the effect found. Under Holm's correction, pass its
    strictest level: ``alpha`` divided by the number of strata.
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
