"""A validated search space, and what follows from it: strata, trials, templates."""

import copy
import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from focusnet.config import TrialConfig
from study.space.domains import Choice, Domain
from study.space.per_stratum import number_of
from study.space.settings import ResourceSettings, SearchSettings


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
    control_seeds: tuple[int, ...] = ()
    """Seeds of the controls beside the winner of the search."""
    confirm_seeds: tuple[int, ...] = ()
    """Fresh seeds that the winner and its controls are retrained with."""
    confirmed_weights: bool = False
    """Whether the retrained winners keep their weights."""

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
        return {p: d for p, d in self.searched.items() if not p.startswith("focus.")}

    def trials_of(self, stratum: Any) -> int:
        """Trials of the search of ``stratum``."""
        if self.search.trials is not None:
            return number_of(self.search.trials, stratum)
        return int(math.prod(domain.size() for domain in self.searched.values()))

    @property
    def trials_searched(self) -> int:
        """Trials of the searches of all strata."""
        return sum(self.trials_of(stratum) for stratum in self.strata)

    @property
    def follow_ups_per_stratum(self) -> int:
        """Trials after a stratum's search: controls of its winner, and confirmation."""
        arms = len(self.control_arms)
        return arms * len(self.control_seeds) + (1 + arms) * len(self.confirm_seeds)

    @property
    def trials_in_all(self) -> int:
        """Trials of the study, controls and confirmation included."""
        return self.trials_searched + len(self.strata) * self.follow_ups_per_stratum

    @property
    def fresh_seeds(self) -> tuple[int, ...]:
        """Seeds of controls and confirmation other than the search's; each needs new templates."""
        control_seeds = self.control_seeds if self.control_arms else ()
        every = dict.fromkeys((*control_seeds, *self.confirm_seeds))
        return tuple(seed for seed in every if seed != self.search.seed)

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

    def templates_shared(self) -> bool:
        """Whether all trials of a stratum's search use one template."""
        reuse = self.base.template.reuse and "template.reuse" not in self.domains
        return reuse and not self.searched_by_template

    def templates_at_most(self) -> int:
        """Upper bound on the templates to train; exact if no searched parameter affects them."""
        if not self._strata_share_templates:
            return sum(int(self.templates_of(stratum)) for stratum in self.strata)
        return self._templates(self.trials_searched, len(self.strata) * self.follow_ups_per_stratum)

    def templates_of(self, stratum: Any) -> float:
        """The share of ``stratum`` in the templates to train at most."""
        if self._strata_share_templates:
            return self.templates_at_most() / len(self.strata)
        return self._templates(self.trials_of(stratum), self.follow_ups_per_stratum)

    @property
    def _strata_share_templates(self) -> bool:
        return (self.search.stratify or "").startswith("focus.")

    def _templates(self, searched: int, follow_ups: int) -> int:
        """The most templates that trials with the same data need."""
        if not self.base.template.reuse:
            return searched + follow_ups
        variants = math.prod(domain.size() for domain in self.searched_by_template.values())
        return int(min(searched, variants)) + len(self.fresh_seeds)

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
            "search": self.search.model_dump(),
            "resources": self.resources.model_dump(),
            "controls": {"arms": list(self.control_arms), "seeds": list(self.control_seeds)},
            "confirm": {
                "seeds": list(self.confirm_seeds),
                "keep_weights": self.confirmed_weights,
            },
            "space": {path: domain.content() for path, domain in self.domains.items()},
            "trial": trial,
        }


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
