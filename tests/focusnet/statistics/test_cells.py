"""Accuracies by location, worked out by hand."""

import numpy as np
import pandas as pd
import pytest

from focusnet.statistics.cells import location_accuracies, locations_of


def predictions():
    rows = []
    for stage, right in (("template", "ab"), ("focus", "bb")):
        for half, scene, location, clips in (
            ("select", "a", "x", 2),
            ("select", "b", "y", 1),
            ("report", "a", "z", 3),
            ("report", "b", "w", 4),
        ):
            for clip in range(clips):
                guess = right[0] if scene == "a" else right[1]
                logits = {"logit/a": float(guess == "a"), "logit/b": float(guess == "b")}
                name = f"{scene}{location}{clip}"
                rows.append(
                    {"filename": name, "stage": stage, "half": half, "scene": scene,
                     "location": location, **logits}
                )  # fmt: skip
    return pd.DataFrame(rows)


def test_locations_of_both_halves_have_their_scene_half_and_clips():
    locations = locations_of(predictions())
    table = dict(
        zip(locations.index, zip(locations.half, locations.clips, strict=True), strict=True)
    )
    assert table[("report", "a", "z")] == (0, 3)
    assert table[("select", "b", "y")] == (1, 1)
    scenes = dict(zip(locations.index, locations.scene, strict=True))
    assert (
        scenes[("report", "a", "z")] == scenes[("select", "a", "x")] != scenes[("report", "b", "w")]
    )


def test_accuracies_are_points_by_location_whatever_the_order_of_the_rows():
    frame = predictions()
    locations = locations_of(frame)
    shuffled = frame.sample(frac=1, random_state=0)
    wrong_on_a = location_accuracies(shuffled, "focus", locations)
    is_a = np.array([scene == "a" for _, scene, _ in locations.index])
    assert list(wrong_on_a) == list(np.where(is_a, 0.0, 100.0))
    assert list(location_accuracies(shuffled, "template", locations)) == [100.0] * 4
    half_right = frame.copy()
    first = (half_right["stage"] == "focus") & (half_right["filename"] == "ax0")
    half_right.loc[first, ["logit/a", "logit/b"]] = [1.0, 0.0]
    found = dict(
        zip(locations.index, location_accuracies(half_right, "focus", locations), strict=True)
    )
    assert found[("select", "a", "x")] == 50.0


def test_predictions_of_other_clips_are_refused():
    frame = predictions()
    locations = locations_of(frame)
    with pytest.raises(ValueError, match="other clips"):
        location_accuracies(frame[frame["filename"] != "bw3"], "focus", locations)
