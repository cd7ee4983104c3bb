"""Problems of the data are reported before the first trial."""

import pytest

from focusnet.errors import DataError
from study.plan.data import prepare_data


@pytest.mark.parametrize("logits", [["cross_fitted"], ["stored", "cross_fitted"]])
@pytest.mark.parametrize("folds", [{"choice": [2, 30]}, {"int": [2, 30]}])
def test_more_folds_than_locations_are_refused_before_the_first_trial(
    logits, folds, make_space, tiny_dataset
):
    space = make_space(
        (("trial", "data", "root"), str(tiny_dataset)),
        (("trial", "model", "max_frames"), 200),
        (("space", "data.subset"), {"choice": [100]}),
        (("space", "focus.template_logits"), {"choice": logits}),
        (("space", "focus.folds"), folds),
    )
    with pytest.raises(DataError, match=r"focus\.folds: must be at most 20, .*received 30"):
        prepare_data(space)


def test_a_subset_with_one_location_of_a_scene_cannot_be_cross_fitted(make_space, tiny_dataset):
    def space(logits):
        return make_space(
            (("trial", "data", "root"), str(tiny_dataset)),
            (("space", "data.subset"), {"choice": [50]}),
            (("trial", "focus"), {"template_logits": logits, "folds": 2}),
        )

    prepare_data(space("stored"))
    with pytest.raises(DataError, match=r"at other locations; scene 'airport' has \S+ only in"):
        prepare_data(space("cross_fitted"))
