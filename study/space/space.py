"""A validated search space, and what follows from it: strata, trials, templates."""

import copy
import itertools
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from focusnet.arms import STUDENT_ONLY
from focusnet.config import TrialConfig
from study.space.domains import Choice, Domain
from study.space.per_stratum import number_of
from study.space.settings import ResourceSettings, SearchSettings
from study.space.tracking_settings import TrackingSettings


@dataclass(frozen=True)
class Space:
    """A valid search space: every trial of it has valid settings."""

    name: str
    search: SearchSettings
    resources: ResourceSettings
    domains: dict[str, Domain]
    """Searched parameters, by dotted path into the trial."""
    base: TrialConfig
    """Settings that all trials share; paths are absolute.

    A searched parameter has its first value here, which every trial overrides; but one below
    ``focus.`` is as the file states it (or its default), because an arm that does not use it keeps
    that value.
    """
    control_arms: tuple[str, ...] = ()
    control_searches: dict[str, dict[str, Domain]] = field(default_factory=dict)
    """Parameters that control arms are searched over, by arm; the others get the winner's."""
    control_seeds: tuple[int, ...] = ()
    """Seeds of the controls beside the winner of the search."""
    confirm_seeds: tuple[int, ...] = ()
    """Fresh seeds of the confirmation, if all strata share them."""
    confirm_looks: tuple[dict[Any, int], ...] = ()
    """Else the number of seeds of each stratum, which are its own, up to each look."""
    looks_planned: bool = False
    """Whether looks may end the confirmation early; else there is one, at its end."""
    cross_fit: bool = False
    """Whether each half of the test split names a winner that the other half judges."""
    confirm_margin: float = 1.0
    """Points; an effect that is smaller either way counts as small."""
    confirmed_weights: bool = False
    """Whether the retrained winners keep their weights."""
    tracking: TrackingSettings = field(default_factory=TrackingSettings)
    ended_with: dict[Any, int] = field(default_factory=dict, compare=False)
    """Trials of each stratum's search, once ``search.hours`` have ended it: see ``end_search``."""

    @property
    def strata(self) -> tuple[Any, ...]:
        """The values of the stratifying parameter; ``(None,)`` if there is a single search."""
        if self.search.stratify is None:
            return (None,)
        return cast(Choice, self.domains[self.search.stratify]).values

    @property
    def searched(self) -> dict[str, Domain]:
        """The domains that the search of one stratum chooses from."""
        return {p: d for p, d in self.domains.items() if p != self.search.stratify}

    @property
    def searched_by_template(self) -> dict[str, Domain]:
        """Those of ``searched`` that a template depends on."""
        later = ("focus.", "student.")
        return {p: d for p, d in self.searched.items() if not p.startswith(later)}

    @property
    def searched_by_teacher(self) -> dict[str, Domain]:
        """Those of ``searched`` that a second stage depends on."""
        return {p: d for p, d in self.searched.items() if not p.startswith("student.")}

    def trials_of(self, stratum: Any) -> int:
        """Trials of the search of ``stratum``."""
        if self.ended_with:
            return self.ended_with[stratum]
        if self.search.trials is not None:
            return number_of(self.search.trials, stratum)
        return int(self.points)

    def end_search(self, trials: Mapping[Any, int]) -> None:
        """End the search while the study runs: ``trials`` of each stratum are all it has.

        The one change of a space, seen by all who hold it.
        """
        self.ended_with.update(trials)

    @property
    def points(self) -> float:
        """Distinct configurations of a stratum; infinite with a range of real numbers."""
        return math.prod(domain.size() for domain in self.searched.values())

    def of_control(self, arm: str, strata: Collection[Any] | None = None) -> "Space":
        """The search of a control arm as a space of its own, in all ``strata`` or in some."""
        domains = dict(self.control_searches[arm])
        points = math.prod(domain.size() for domain in domains.values())
        trials = {s: int(min(points, self.trials_of(s))) for s in self.strata}
        if self.search.stratify is not None:
            own = Choice(tuple(s for s in self.strata if strata is None or s in strata))
            domains = {self.search.stratify: own, **domains}
        return replace(
            self,
            search=self.search.model_copy(update={"trials": trials}),
            domains=domains,
            control_arms=(),
            control_searches={},
        )

    def tunings_of(self, stratum: Any) -> int:
        """Trials of the searches of control arms in ``stratum``."""
        return sum(self.of_control(arm).trials_of(stratum) for arm in self.control_searches)

    @property
    def trials_searched(self) -> int:
        """Trials of the searches of all strata."""
        return sum(self.trials_of(stratum) for stratum in self.strata)

    def seeds_of(self, stratum: Any) -> int:
        """Fresh seeds of the confirmation of ``stratum``, at most."""
        return self.confirm_looks[-1][stratum] if self.confirm_looks else len(self.confirm_seeds)

    def follow_ups_of(self, stratum: Any) -> int:
        """Trials after the search of ``stratum``, at most: controls and confirmation."""
        arms = len(self.control_arms)
        return (
            self.tunings_of(stratum)
            + arms * len(self.control_seeds)
            + (1 + arms) * self.seeds_of(stratum)
        )

    @property
    def follow_ups(self) -> int:
        """Trials after the searches of all strata, at most: controls and confirmation."""
        return sum(self.follow_ups_of(stratum) for stratum in self.strata)

    @property
    def trials_in_all(self) -> int:
        """Trials of the study, controls and confirmation included; looks may leave some out."""
        return self.trials_searched + self.follow_ups

    def fresh_templates_of(self, stratum: Any) -> int:
        """Seeds of controls and confirmation other than the search's; each needs a template."""
        controls = {*self.control_seeds} if self.control_arms else set()
        if self.confirm_looks:
            return len(controls - {self.search.seed}) + self.seeds_of(stratum)
        return len({*controls, *self.confirm_seeds} - {self.search.seed})

    def label(self, stratum: Any) -> str:
        """Name of a stratum, such as ``subset 25``; empty if there is a single search."""
        if self.search.stratify is None:
            return ""
        return f"{self.search.stratify.rpartition('.')[2]} {stratum}"

    def trial_config(self, parameters: Mapping[str, Any]) -> TrialConfig:
        """Settings of the trial of the search with these ``parameters``."""
        return TrialConfig.model_validate(with_values(self.base.model_dump(), parameters))

    def first_values(self) -> dict[str, Any]:
        """One valid configuration: the first value of each parameter."""
        return {path: domain.extremes()[0] for path, domain in self.domains.items()}

    def focus_epochs(self) -> int:
        """The most epochs that a FocusNet stage of this study can have."""
        paths = [path for path in ("template.epochs", "focus.epochs") if path in self.domains]
        ends = itertools.product(*(self.domains[path].extremes() for path in paths))
        trials = [self.trial_config(dict(zip(paths, values, strict=True))) for values in ends]
        return max(trial.focus.epochs or trial.template.epochs for trial in trials)

    def metric_epochs(self) -> int:
        """The most epochs that the stage which the metric measures can have."""
        if not self.search.metric.startswith("student/"):
            return self.focus_epochs()
        domain = self.domains.get("student.epochs")
        student = self.trial_config(self.first_values()).student
        assert student is not None  # see study.space.student_rules
        return max(domain.extremes()) if domain else student.epochs

    def longest_stage(self, parameters: Mapping[str, Any]) -> int:
        """The most epochs that a stage of the trial with these ``parameters`` has."""
        trial = self.trial_config(parameters)
        student = trial.student.epochs if trial.student else 0
        return max(trial.template.epochs, trial.focus.epochs or 0, student)

    def templates_shared(self) -> bool:
        """Whether all trials of a stratum's search use one template."""
        reuse = self.base.template.reuse and "template.reuse" not in self.domains
        return reuse and not self.searched_by_template

    def templates_at_most(self) -> int:
        """Upper bound on the templates to train; exact if no searched parameter affects them."""
        if not self._strata_share_templates:
            return sum(int(self.templates_of(stratum)) for stratum in self.strata)
        fresh = [self.fresh_templates_of(stratum) for stratum in self.strata]
        # Strata with seeds of their own share those of the search only.
        return self._templates(
            self.trials_searched, self.follow_ups, sum(fresh) if self.confirm_looks else max(fresh)
        )

    def templates_of(self, stratum: Any) -> float:
        """The share of ``stratum`` in the templates to train at most."""
        if self._strata_share_templates:
            return self.templates_at_most() / len(self.strata)
        fresh = self.fresh_templates_of(stratum)
        return self._templates(self.trials_of(stratum), self.follow_ups_of(stratum), fresh)

    def teachers_of(self, stratum: Any) -> int:
        """The most second stages to train in ``stratum``.

        With a student they are shared by trials that differ in ``student.*`` only.
        """
        arms = [arm for arm in self.control_arms if arm not in STUDENT_ONLY]
        fixed = len(arms) * len(self.control_seeds) + (1 + len(arms)) * self.seeds_of(stratum)
        searches = [(self.trials_of(stratum), self.searched)]
        for arm in self.control_searches:
            if arm in arms:
                own = self.of_control(arm)
                searches.append((own.trials_of(stratum), own.searched))
        if self.has_student and self.base.template.reuse:
            variants = [_variants(domains, without="student.") for _, domains in searches]
        else:
            variants = [math.inf for _ in searches]
        tried = (min(count, most) for (count, _), most in zip(searches, variants, strict=True))
        return int(sum(tried)) + fixed

    @property
    def has_student(self) -> bool:
        """Whether trials train a student."""
        searched = any(path.startswith("student.") for path in self.domains)
        return searched or self.base.student is not None

    def students_of(self, stratum: Any) -> int:
        """The most students to train in ``stratum``: one for each trial."""
        return self.trials_of(stratum) + self.follow_ups_of(stratum) if self.has_student else 0

    @property
    def _strata_share_templates(self) -> bool:
        return (self.search.stratify or "").startswith(("focus.", "student."))

    def _templates(self, searched: int, follow_ups: int, fresh: int) -> int:
        """The most templates that trials with the same data need."""
        if not self.base.template.reuse:
            return searched + follow_ups
        variants = math.prod(domain.size() for domain in self.searched_by_template.values())
        return int(min(searched, variants)) + fresh

    def folds_at_most(self) -> int:
        """Upper bound on the extra templates for out-of-fold logits; 0 without cross-fitting."""
        logits = self.domains.get("focus.template_logits")
        choices = logits.extremes() if logits else (self.base.focus.template_logits,)
        if "cross_fitted" not in choices:
            return 0
        folds: Iterable[int] = (self.base.focus.folds,)
        if domain := self.domains.get("focus.folds"):
            low, high = min(domain.extremes()), max(domain.extremes())
            folds = domain.values if isinstance(domain, Choice) else range(low, high + 1)
        # Trials with different numbers of folds share none of these templates.
        each = sum(folds) if self.base.template.reuse else max(folds)
        return each * self.templates_at_most()

    def content(self) -> dict[str, Any]:
        """The space as ``space.yaml`` records it: defaults filled in, paths absolute."""
        trial = self.base.model_dump()
        for path in ("seed", "arm", *self.domains):
            *sections, name = path.split(".")
            inside = trial
            for section in sections:
                inside = inside[section]
            inside.pop(name, None)
        return {
            "name": self.name,
            "search": self._search_content(),
            "resources": self.resources.model_dump(),
            "controls": {
                "arms": list(self.control_arms),
                "seeds": list(self.control_seeds),
                "search": {
                    arm: {path: domain.content() for path, domain in domains.items()}
                    for arm, domains in self.control_searches.items()
                },
            },
            "confirm": self._confirm_content(),
            "tracking": self.tracking.model_dump(exclude_none=True),
            "space": {path: domain.content() for path, domain in self.domains.items()},
            "trial": trial,
        }

    def _search_content(self) -> dict[str, Any]:
        content = self.search.model_dump()
        if self.ended_with:
            content["trials"] = self.ended_with.get(None, dict(self.ended_with))
        return content

    def _confirm_content(self) -> dict[str, Any]:
        looks = [look[None] if None in look else dict(look) for look in self.confirm_looks]
        seeds: Any = list(self.confirm_seeds)
        if looks:
            seeds = None if self.looks_planned else looks[-1]
        return {
            "seeds": seeds,
            "looks": looks if self.looks_planned else None,
            "cross_fit": self.cross_fit,
            "margin": self.confirm_margin,
            "keep_weights": self.confirmed_weights,
        }


def _variants(domains: Mapping[str, Domain], without: str) -> float:
    """How many settings domains allow, those left out whose path starts with ``without``."""
    return math.prod(d.size() for path, d in domains.items() if not path.startswith(without))


def with_values(trial: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of ``trial`` with each value of ``values`` set at its dotted path."""
    changed = dict(copy.deepcopy(trial))
    for path, value in values.items():
        *sections, name = path.split(".")
        inside = changed
        for section in sections:
            if not isinstance(inside.get(section), dict):
                inside[section] = {}
            inside = inside[section]
        inside[name] = value
    return changed
