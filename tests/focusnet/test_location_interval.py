"""Intervals over locations: by hand where that is possible, by simulation where not."""

import numpy as np
import pandas as pd
import pytest

from focusnet.location_interval import macro_accuracy_interval, resample_counts


def clips(rows) -> pd.DataFrame:
    """Rows of (scene, location, right, number of clips)."""
    return pd.DataFrame(
        [(scene, place, right) for scene, place, right, count in rows for _ in range(count)],
        columns=["scene", "location", "right"],
    )


def test_the_estimate_is_the_mean_over_scenes():
    frame = clips(
        [("bus", "x", 1, 3), ("bus", "y", 0, 1), ("tram", "z", 1, 1), ("tram", "w", 0, 9)]
    )
    estimate, low, high = macro_accuracy_interval(frame, "right")
    assert estimate == pytest.approx((3 / 4 + 1 / 10) / 2)
    assert low <= estimate <= high


def test_where_all_locations_agree_the_interval_has_no_width():
    frame = clips(
        [("bus", "x", 1, 3), ("bus", "y", 1, 5), ("tram", "z", 0, 2), ("tram", "w", 0, 2)]
    )
    assert macro_accuracy_interval(frame, "right") == pytest.approx((0.5, 0.5, 0.5))


def test_of_two_locations_one_is_drawn():
    # Right or wrong, each in half of the bootstrap samples.
    frame = clips([("bus", "x", 1, 4), ("bus", "y", 0, 4)])
    assert macro_accuracy_interval(frame, "right") == pytest.approx((0.5, 0.0, 1.0))


def test_bootstrap_samples_leave_one_unit_out():
    counts = resample_counts(np.random.default_rng(0), 6, 3000)
    assert set(counts.sum(axis=1)) == {5}
    np.testing.assert_allclose(counts.mean(axis=0), 5 / 6, atol=0.06)
    assert resample_counts(np.random.default_rng(0), 1, 3).tolist() == [[1], [1], [1]]


def test_the_interval_is_as_wide_as_the_noise_of_locations():
    generator = np.random.default_rng(0)
    locations, truth = 60, 0.6
    estimates, widths = [], []
    for _ in range(60):
        shares = generator.beta(6, 4, size=locations)  # mean 0.6
        right = generator.random((locations, 10)) < shares[:, None]
        frame = pd.DataFrame(
            {
                "scene": "bus",
                "location": np.repeat(np.arange(locations), 10),
                "right": right.ravel().astype(int),
            }
        )
        estimate, low, high = macro_accuracy_interval(frame, "right")
        estimates.append(estimate)
        widths.append((high - low) / (2 * 1.96))
    assert np.mean(estimates) == pytest.approx(truth, abs=0.02)
    assert np.mean(widths) == pytest.approx(np.std(estimates), rel=0.25)
