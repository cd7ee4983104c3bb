"""The plan describes a study in words."""

from pathlib import Path

from study.plan.describe import describe_plan


def test_the_plan_counts_strata_trials_and_templates(make_space):
    plan = describe_plan(make_space(), Path("/r/small"))
    for part in (
        "Study small: 6 trials",
        "data.subset = 25, 100",
        "2, shared by the trials that differ in focus.* only",
        "focus.weight: loguniform 0.1 to 10",
        "template 6 epochs, then FocusNet 6 epochs",
        "/r/small",
    ):
        assert part in plan
    assert "none, so the report cannot make claims" in plan
    followed = make_space((("controls", "arms"), ["placebo"]), (("confirm", "seeds"), 2))
    for part in (
        "Study small: 16 trials",
        "placebo\n               2 trials with the parameters of the winners, seed 0",
        "8 trials: each winner and its controls retrained, seeds 1, 2",
        "6, one per stratum and seed",
    ):
        assert part in describe_plan(followed, Path("r"))
    own = make_space((("trial", "template", "reuse"), False))
    assert "6, one per trial" in describe_plan(own, Path("r"))
    more = make_space((("space", "template.lr"), {"choice": [1e-5, 1e-4]}))
    assert "up to 4, because the search changes template.lr" in describe_plan(more, Path("r"))
