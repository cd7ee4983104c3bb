"""The joint fit of all trials, against dense linear algebra and in simulated searches."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from focusnet.statistics import surface as response_surface
from focusnet.statistics.surface import fit_surface

SHARES = np.array([5.0, 25.0, 100.0])
DISTANCE = np.abs(np.log(SHARES[:, None] / SHARES))


def search(seed, trials=(6, 5, 4), dimensions=2):
    rng = np.random.default_rng(seed)
    points = rng.random((sum(trials), dimensions))
    stratum = np.repeat(np.arange(len(trials)), trials)
    values = np.sin(4 * points[:, 0]) + 0.3 * stratum + 0.2 * rng.standard_normal(len(points))
    return points, stratum, values


def matern(one, other, length):
    apart = np.sqrt(5) * np.linalg.norm(one[:, None] - other[None], axis=-1) / length
    return (1 + apart + apart**2 / 3) * np.exp(-apart)


def test_mean_and_sd_are_those_of_the_joint_normal_distribution(monkeypatch):
    """Levels with a flat prior are levels with a very wide one."""
    for name, value in (("LENGTHS", 0.4), ("STRATUM_RANGES", 3.0), ("SIGNAL_TO_NOISE", 0.8)):
        monkeypatch.setattr(response_surface, name, (value,))
    points, stratum, values = search(0)
    candidates = np.random.default_rng(1).random((7, 2))
    found = fit_surface(points, stratum, values, candidates, DISTANCE)

    every = np.concatenate([points, *[candidates] * 3])
    of = np.concatenate([stratum, np.repeat([0, 1, 2], 7)])
    prior = 0.8 * matern(every, every, 0.4) * np.exp(-DISTANCE / 3.0)[np.ix_(of, of)]
    prior += 1e7 * (of[:, None] == of[None])
    n = len(points)
    data = prior[:n, :n] + np.eye(n)
    weights = np.linalg.solve(data, prior[:n, n:])
    mean = weights.T @ values
    # The variance of the noise, by restricted maximum likelihood.
    x = np.eye(3)[stratum]
    own = matern(points, points, 0.4) * np.exp(-DISTANCE / 3.0)[np.ix_(stratum, stratum)]
    inverse = np.linalg.inv(0.8 * own + np.eye(n))
    project = inverse - inverse @ x @ np.linalg.solve(x.T @ inverse @ x, x.T @ inverse)
    noise = values @ project @ values / (n - 3)
    variance = np.diag(prior[n:, n:] - prior[n:, :n] @ weights) * noise
    np.testing.assert_allclose(found.mean.ravel(), mean, atol=1e-4)
    np.testing.assert_allclose(found.sd.ravel(), np.sqrt(variance), rtol=1e-3)
    assert found.noise_sd == pytest.approx(np.sqrt(noise))


def test_hyperparameters_are_weighed_by_their_restricted_likelihood(monkeypatch):
    points, stratum, values = search(3)
    candidates = points[:4]
    lengths = (0.2, 1.6)
    monkeypatch.setattr(response_surface, "STRATUM_RANGES", (3.0,))
    monkeypatch.setattr(response_surface, "SIGNAL_TO_NOISE", (1.0,))
    alone, evidence = [], []
    x = np.eye(3)[stratum]
    scaled = (values - values.mean()) / values.std()
    for length in lengths:
        monkeypatch.setattr(response_surface, "LENGTHS", (length,))
        alone.append(fit_surface(points, stratum, values, candidates, DISTANCE).mean)
        covariance = matern(points, points, length)
        covariance = covariance * np.exp(-DISTANCE / 3.0)[np.ix_(stratum, stratum)]
        covariance += np.eye(len(points))
        inverse = np.linalg.inv(covariance)
        gram = x.T @ inverse @ x
        project = inverse - inverse @ x @ np.linalg.solve(gram, x.T @ inverse)
        evidence.append(
            -np.linalg.slogdet(covariance)[1] / 2
            - np.linalg.slogdet(gram)[1] / 2
            - (len(points) - 3) / 2 * np.log(scaled @ project @ scaled)
        )
    share = 1 / (1 + np.exp(evidence[1] - evidence[0]))
    monkeypatch.setattr(response_surface, "LENGTHS", lengths)
    both = fit_surface(points, stratum, values, candidates, DISTANCE).mean
    np.testing.assert_allclose(both, share * alone[0] + (1 - share) * alone[1], atol=1e-10)


@given(seed=st.integers(0, 10**6), shift=st.floats(-5, 5), scale=st.floats(0.01, 10))
def test_units_of_the_metric_and_order_of_the_trials_do_not_matter(seed, shift, scale):
    points, stratum, values = search(seed)
    one = fit_surface(points, stratum, values, points, DISTANCE)
    order = np.random.default_rng(seed).permutation(len(points))
    other = fit_surface(
        points[order], stratum[order], shift + scale * values[order], points, DISTANCE
    )
    np.testing.assert_allclose(other.mean, shift + scale * one.mean, atol=1e-8 * (1 + scale))
    np.testing.assert_allclose(other.sd, scale * one.sd, rtol=1e-6, atol=1e-9)


def test_pure_noise_is_flattened_and_a_clear_surface_is_followed():
    points, stratum, values = search(0, trials=(24, 24, 24))
    noise = np.random.default_rng(2).standard_normal(len(points))
    flat = fit_surface(points, stratum, noise, points, DISTANCE).mean
    assert np.ptp(flat, axis=1).max() < 0.35 * np.ptp(noise)
    followed = fit_surface(points, stratum, values, points, DISTANCE)
    truth = np.sin(4 * points[:, 0])
    for mean in followed.mean:
        assert np.corrcoef(mean, truth)[0, 1] > 0.95


def test_winners_are_better_than_the_best_observed_trials():
    """Simulated searches: how far below the best setting the choice is, on average."""
    rng = np.random.default_rng(0)
    shares = np.array([5.0, 10, 25, 50, 100])
    distance = np.abs(np.log(shares[:, None] / shares))
    trials, lost = (16, 16, 12, 8, 8), {"best observed": [], "posterior mean": []}
    for _ in range(25):
        points = rng.random((16, 2))
        covariance = matern(points, points, 0.6) + 1e-8 * np.eye(16)
        shared = np.linalg.cholesky(np.exp(-distance / 5))
        truth = shared @ rng.standard_normal((5, 16)) @ np.linalg.cholesky(covariance).T
        truth = 3 * (truth - truth.min(axis=1, keepdims=True)) / np.ptp(truth, axis=1)[:, None]
        observed = [truth[k, :n] + rng.standard_normal(n) for k, n in enumerate(trials)]
        surface = fit_surface(
            np.concatenate([points[:n] for n in trials]),
            np.repeat(np.arange(5), trials),
            np.concatenate(observed),
            points,
            distance,
        )
        for k in range(5):
            best = truth[k].max()
            lost["best observed"].append(best - truth[k, observed[k].argmax()])
            lost["posterior mean"].append(best - truth[k, surface.mean[k].argmax()])
    assert np.mean(lost["posterior mean"]) < 0.8 * np.mean(lost["best observed"])


def test_too_few_trials_are_refused():
    with pytest.raises(ValueError, match="3 trials in 3 strata are too few"):
        fit_surface(np.zeros((3, 1)), [0, 1, 2], np.arange(3.0), np.zeros((1, 1)), DISTANCE)
