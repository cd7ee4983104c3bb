"""The figure of the estimated surface, read back from its axes."""

import numpy as np
import pytest
from estimated_study import PLACES, VALUES, estimated_space, estimated_study
from results_folder import finished, write_study

from analysis.figures.surface import draw_surface
from analysis.read_study import read_study
from focusnet.winner import landscape


def entries(axes):
    handles, labels = axes.get_legend_handles_labels()
    return dict(zip(labels, handles, strict=True))


def test_each_parameter_has_a_curve_with_its_band_trials_and_the_winner(tmp_path, drawn):
    study = read_study(estimated_study(tmp_path / "s"))
    draw_surface(study, list(study.parameters.values()))
    axes_of = drawn[0].axes
    assert len(axes_of) == 4
    fitted = landscape(study.trials, study.space)
    for row, stratum in enumerate(study.strata):
        winner = stratum.choice
        for column, path in enumerate(("focus.weight", "focus.threshold")):
            axes = axes_of[2 * row + column]
            shown = entries(axes)
            trials = shown["single trial"].get_offsets()
            expected = [(place[column], 100 * v) for place, v in zip(PLACES, VALUES, strict=True)]
            np.testing.assert_allclose(trials, expected)
            x, y = shown["estimate"].get_data()
            at = [{**winner.parameters, path: float(value)} for value in x]
            surface = fitted.estimate(at)
            np.testing.assert_allclose(y, 100 * surface.mean[row])
            band = shown["± 1 sd"].get_paths()[0].vertices
            high = 100 * (surface.mean[row] + surface.sd[row])
            assert band[:, 1].max() == pytest.approx(high.max())
            star = shown["winner"].get_offsets()[0]
            np.testing.assert_allclose(star, [winner.parameters[path], 100 * winner.estimate])
    assert axes_of[0].get_ylabel() == "subset 25\non select (%)"
    assert (axes_of[0].get_xscale(), axes_of[1].get_xscale()) == ("log", "linear")
    assert (axes_of[0].get_xlabel(), axes_of[2].get_xlabel()) == ("", "focus.weight (factor)")


def test_one_parameter_has_a_panel_per_stratum(tmp_path, drawn):
    study = read_study(estimated_study(tmp_path / "s"))
    draw_surface(study, [study.parameters["focus.weight"]])
    assert [axes.get_title() for axes in drawn[0].axes] == ["subset 25", "subset 100"]


def test_choices_have_points_with_bars_in_their_order(tmp_path, drawn):
    space = estimated_space()
    space["space"]["logits"] = {"choice": ["stored", None]}
    trials = [
        finished(f"t{subset}-{n}", subset, weight=w, threshold=t, select=value)
        | {"logits": "stored" if n % 2 else None}
        for subset in (25, 100)
        for n, ((w, t), value) in enumerate(zip(PLACES, VALUES, strict=True))
    ]
    study = read_study(write_study(tmp_path / "s", trials, space=space))
    draw_surface(study, list(study.parameters.values()))
    axes = drawn[0].axes[2]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["stored", "null"]
    offsets = entries(axes)["single trial"].get_offsets()
    assert offsets[:, 0].tolist() == [1, 0, 1, 0, 1, 0]
