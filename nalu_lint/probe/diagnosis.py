"""From facts to findings: why a Parameter does not train."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from nalu_lint.probe import distributed
from nalu_lint.probe.errors import CannotRerun
from nalu_lint.probe.facts import Gradient, ParameterFacts
from nalu_lint.probe.flags import contradicted_flags
from nalu_lint.probe.homes import names_by_order, names_in_groups
from nalu_lint.probe.report import Report
from nalu_lint.probe.verdict import Verdict, class_name, placed, rewrapped
from nalu_lint.probe.wording import as_written
from nalu_lint.rules.base import quoted_names

if TYPE_CHECKING:
    import torch

    from nalu_lint.probe.lineage import Cut
    from nalu_lint.probe.observation import Observation
    from nalu_lint.probe.places import Place
    from nalu_lint.probe.rerun import Rerun, Trace
    from nalu_lint.probe.states import Kept


_UNSEEN = "no call of the model was seen"


def report(probe: Observation, rerun: Rerun | None, error: BaseException | None) -> Report:
    """The report of a finished probe; the same on every process."""
    facts = _united({track.facts.name: track.facts for track in probe.tracks.values()})
    for derivation in probe.derivations:
        if derivation.target in facts and not derivation.is_replaced:
            facts[derivation.target].computed_from = derivation.sources
    answer = rerun.answer if rerun is not None else _no_answer
    verdicts = distributed.led(_Diagnosis(probe, facts, rerun, error).verdicts, answer)
    return _report(probe, facts, verdicts)


def unexplained(probe: Observation) -> Report:
    """The report where the causes could not be looked for: the facts that this process has seen."""
    return _report(probe, {track.facts.name: track.facts for track in probe.tracks.values()}, [])


def _report(probe: Observation, facts: dict[str, ParameterFacts], verdicts: list[Verdict]) -> Report:
    parameter = next(iter(probe.names.values()))
    return Report(
        parameters=tuple(facts[name] for name in facts if name not in probe.hidden),
        verdicts=tuple(placed(verdict, probe.model, probe.made_at) for verdict in verdicts),
        n_steps=probe.n_steps,
        device=parameter.device.type,
        model=class_name(probe.model),
        world_size=distributed.world_size(),
        rank=distributed.rank(),
    )


def _no_answer(question: Any) -> Any:
    raise CannotRerun(_UNSEEN)


def _united(own: dict[str, ParameterFacts]) -> dict[str, ParameterFacts]:
    """The facts of all processes together, by name."""
    for number, others in enumerate(distributed.gather(own)):
        if number != distributed.rank():
            for name, facts in others.items():
                if name in own:
                    own[name].unite(facts)
    return own


class _Diagnosis:
    """The rules that lead from facts to verdicts. Each Parameter gets the first cause that explains it."""

    def __init__(
        self, probe: Observation, facts: dict[str, ParameterFacts], rerun: Rerun | None, error: BaseException | None
    ) -> None:
        self._probe = probe
        self._facts = facts
        self._rerun = rerun
        self._error = error
        self._found: list[Verdict] = []
        self._explained: set[str] = set()
        self._now = dict(probe.model.named_parameters(remove_duplicate=False))
        self._reason = "" if rerun is not None else _UNSEEN
        self._trace: Trace | None = None
        self._stepping = probe.session.stepping
        self._held = self._stepping.held

    def verdicts(self) -> list[Verdict]:
        if not self._has_graph():
            unasked = self._probe.session.leaf_backward.is_unasked
            causes = [verdict for verdict in self._causes() if verdict.code in _CUTS] if unasked else []
            return causes or [self._no_graph()]
        return self._causes()

    def _causes(self) -> list[Verdict]:
        self._replaced()
        self._made_in_forward()
        self._hidden()
        self._flags()
        suspects = self._suspects()
        followed = {name: self._probe.names[name] for name in suspects}
        kept = {kept.name: kept.tensor for kept in self._probe.kept if kept.is_still_there}
        if (followed or kept) and self._rerun is not None:
            try:
                self._trace = self._rerun.trace({**followed, **kept})
            except CannotRerun as reason:
                self._reason = str(reason).partition("\n")[0]
                self._rerun = None
        self._derived()
        self._kept_tensors()
        self._without_gradient([name for name in suspects if self._facts[name].gradient is Gradient.NONE])
        self._with_zero_gradient([name for name in suspects if self._facts[name].gradient is Gradient.ZERO])
        self._optimized()
        if self._is_untrained():
            self._found = [verdict._replace(severity="error") for verdict in self._found]
        return sorted(self._found, key=lambda verdict: (verdict.level, verdict.code, verdict.parameter))

    def _is_untrained(self) -> bool:
        """Whether an optimizer holds the model, and no gradient reached any Parameter of it."""
        return any(facts.is_in_optimizer for facts in self._facts.values()) and not any(
            facts.gradient is not Gradient.NONE or facts.is_updated_by_hand for facts in self._facts.values()
        )

    def _add(
        self,
        code: str,
        parameter: str,
        what: str,
        place: Place | None,
        sources: tuple[str, ...] = (),
        cause: object = None,
        severity: str = "",
    ) -> None:
        self._found.append(Verdict(code, parameter, what, place, sources, cause=cause, severity=severity))
        self._explained.add(parameter)

    def _suspects(self) -> list[str]:
        """Trainable Parameters of the model that no gradient other than zero has reached."""
        return [
            facts.name
            for facts in self._facts.values()
            if facts.is_trainable
            and facts.gradient is not Gradient.NONZERO
            and not (facts.gradient is Gradient.NONE and facts.is_updated_by_hand)
            and facts.name not in self._probe.hidden
            and facts.name not in self._explained
            and not self._is_meant(facts)
        ]

    def _is_meant(self, facts: ParameterFacts) -> bool:
        """Whether it is not to train, or not yet: of teachers, targets and references, no optimizer knows."""
        if self._stepping.is_waiting(self._probe.tensor(facts.name)):
            return True
        return (
            facts.gradient is Gradient.NONE
            and not facts.is_in_optimizer
            and not facts.has_moved
            and self._stepping.is_optimizer_known
        )

    # Causes that facts alone prove.

    def _has_graph(self) -> bool:
        is_leaf = self._probe.session.leaf_backward.was_seen
        return not is_leaf or any(facts.gradient is not Gradient.NONE for facts in self._facts.values())

    def _no_graph(self) -> Verdict:
        what = "backward() was called on a tensor that has no graph: no Parameter gets a gradient"
        return Verdict("NAL301", "", what, self._probe.session.leaf_backward.place)

    def _replaced(self) -> None:
        held = {id(parameter) for parameter in self._held}
        fresh = {id(made.reference()): made for made in self._probe.fresh if made.reference() is not None}
        before_and_after = [(name, before, self._now.get(name)) for name, before in self._probe.names.items()]
        for name, before in self._stale().items():  # replaced before the model was watched
            if self._now.get(name) is not None and id(self._now[name]) not in held:
                before_and_after.append((name, before, self._now[name]))
        for name, before, after in before_and_after:
            if after is before or name in self._explained:
                continue
            if id(after) in fresh:
                what = (
                    f"Parameter `{name}` was replaced by a new one on the forward path; the optimizer keeps the old one"
                )
                self._add("NAL201", name, what, fresh[id(after)].place)
            elif after is not None and after.requires_grad and id(before) in held and id(after) not in held:
                what = f"Parameter `{name}` was replaced after the optimizer was built, which still holds the old one"
                place = self._facts[name].place if name in self._facts else None
                self._add("NAL405", name, what, place, cause="replaced")
            else:
                self._explained.add(name)

    def _stale(self) -> dict[str, torch.Tensor]:
        """What optimizers hold and the model does not, by the name that it had in the model."""
        own = {id(parameter) for parameter in (*self._now.values(), *self._probe.names.values())}
        optimizers, built = self._probe.session.optimizers, self._probe.built
        held = {id(parameter) for parameter in self._held}
        unheld = [name for name, parameter in self._now.items() if id(parameter) not in held]
        found: dict[str, torch.Tensor] = {}
        if not unheld or all(id(parameter) in own for parameter in self._held):
            return found
        for optimizer, _ in optimizers.alive():
            found.update({**names_by_order(optimizer, self._now), **names_in_groups(optimizer, unheld)})
        for parameter in self._held:
            if id(parameter) not in own:
                name = optimizers.homes.name_in(parameter, self._probe.model)
                if name is None and built is not None:
                    name = built.former_name(parameter, self._probe.model)
                if name is not None:
                    found[name] = parameter
        return {name: parameter for name, parameter in found.items() if id(parameter) not in own}

    def _made_in_forward(self) -> None:
        names = {id(parameter): name for name, parameter in self._now.items()}
        seen = {verdict.place for verdict in self._found if verdict.code == "NAL201"}
        for made in self._probe.fresh:
            name = names.get(id(made.reference()))
            if not made.has_gradient or made.place in seen or name in self._probe.names:
                continue
            seen.add(made.place)
            what = "a Parameter is made on the forward path and gets a gradient, but is new at each call"
            if name is not None:
                if any(facts.name == name and facts.is_in_optimizer for facts in self._facts.values()):
                    continue
                what = f"Parameter `{name}` is made on the forward path, where no optimizer knows it"
            self._add("NAL103", name or "", what, made.place)

    def _hidden(self) -> None:
        for name, (tensor, place) in self._probe.hidden.items():
            facts = self._facts[name]
            if facts.gradient is Gradient.NONE or facts.is_in_optimizer or not facts.is_trainable:
                continue
            if isinstance(tensor, nn.Parameter):
                what = f"Parameter `{name}` gets a gradient, but is in a container that parameters() does not look into"
                self._add("NAL102", name, what, place)
            elif not facts.has_moved and self._probe.is_kept(name):
                what = f"tensor `{name}` gets a gradient, but is not a Parameter and no optimizer holds it"
                self._add("NAL409", name, what, place)

    def _flags(self) -> None:
        for flag in contradicted_flags(self._probe.model):
            target = f"`{flag.owner}`" if flag.owner else "the model"
            state = "frozen" if flag.value else "trainable"
            what = f"`{flag.attribute} = {flag.value}` was set on {target} and has no effect: it is still {state}"
            self._add("NAL302", flag.owner, what, flag.place)

    # Causes at construction.

    def _derived(self) -> None:
        dead = {name for name in self._suspects() if self._facts[name].gradient is Gradient.NONE}
        read = self._read()
        derivations = [d for d in self._probe.derivations if d.target in self._facts]
        orphaned = {source for d in derivations for source in d.sources if source in dead - read}
        for derivation in derivations:
            target = derivation.target
            trainable = tuple(s for s in derivation.sources if s in self._facts and self._facts[s].is_trainable)
            orphans = [source for source in trainable if source in orphaned]
            if derivation.shared & set(self._facts):
                if self._facts[target].is_trainable or trainable:
                    self._found.append(rewrapped(derivation))
                    self._explained.add(target)
                    self._explained.update(orphans)
                    if not self._facts[target].is_trainable:  # a frozen one over the same storage: that is the cut
                        self._explained.update(dead.intersection(derivation.shared))
            elif orphans:
                self._explained.update(orphans)
                self._add("NAL001", target, _derived_text(target, trainable, orphans), derivation.place, trainable)
            elif trainable and not (orphans or derivation.is_replaced or derivation.explicit >= set(trainable)):
                what = f"Parameter `{target}` is computed once from {quoted_names(trainable)}, and trains apart from it"
                self._add("NAL002", target, what, derivation.place, trainable)

    def _read(self) -> set[str]:
        """What the run that was followed read."""
        return set() if self._trace is None else {*self._trace.reads, *self._trace.reaching}

    def _kept_tensors(self) -> None:
        failed = self._error is not None and "second time" in str(self._error)
        for kept in self._probe.kept:
            is_used = self._trace is not None and kept.name in self._trace.reaching
            if not kept.is_still_there:
                continue
            if kept.lost:
                self._lost(kept)
            if not is_used and not (failed and self._trace is None):
                continue
            trainable = tuple(s for s in kept.sources if s in self._facts and self._facts[s].is_trainable)
            dead = [source for source in trainable if self._facts[source].gradient is Gradient.NONE]
            # A snapshot of values may be meant, unless it is all that is ever used of them.
            if trainable and (not kept.is_snapshot or set(dead) - self._read()):
                what = f"Tensor `{kept.name}` is computed once from {quoted_names(trainable)}: it is stale after a step"
                self._add("NAL003", kept.name, what, kept.place, trainable)
                self._explained.update(dead)

    def _lost(self, kept: Kept) -> None:
        built = self._probe.built
        place = built.place_of(kept.lost[0]) if built is not None else None
        what = (
            f"`{kept.name}` is the result of an operation on a Parameter, and no Parameter itself: it is never stepped"
        )
        self._add("NAL101", kept.name, what, place or kept.place)

    # Causes that running again shows.

    def _without_gradient(self, names: list[str]) -> None:
        names = [name for name in names if name not in self._explained]
        if not names:
            return
        steps = _steps(self._probe.n_steps)
        dependent: set[str] = set()
        if self._rerun is not None:
            try:
                if self._probe.is_on_meta:  # no values to change: what was followed has to do
                    dependent = set(self._trace.reaching) if self._trace is not None else set()
                else:
                    dependent = self._rerun.depends_on({name: self._probe.names[name] for name in names})
                    # One factor of a product of zeros changes nothing alone.
                    cut = [n for n in names if self._trace is not None and self._trace.reaching.get(n) is not None]
                    if set(cut) - dependent:
                        dependent |= self._rerun.depends_jointly_on({n: self._probe.names[n] for n in cut})
            except CannotRerun as reason:
                self._rerun, self._reason = None, str(reason).partition("\n")[0]
        is_called = self._probe.session.recorder.was_used(self._probe.model.modules())
        for name in names:
            made = self._facts[name].place
            if not is_called and not self._probe.is_loose and (self._trace is None or name not in self._trace.reaching):
                what = f"no gradient reached Parameter `{name}` {steps}: its model was never called"
                self._add("NAL205", name, what, made)
            elif self._rerun is None or self._trace is None:
                what = f"no gradient reached Parameter `{name}` {steps}; whether the loss depends on it is not known"
                self._add("NAL402", name, f"{what} ({self._reason})", made, cause=self._reason)
            elif name in self._trace.copied and name not in (*self._trace.reaching, *self._trace.escaped):
                what = f"no gradient reached Parameter `{name}` {steps}: nothing reads it, but a copy of it"
                self._add("NAL205", name, what, made)
            elif name in dependent:
                self._cut(name)
            elif name in self._trace.reads or name in self._trace.reaching or name in self._trace.escaped:
                what = f"no gradient reached Parameter `{name}` {steps}, and the loss does not depend on it"
                self._add("NAL402", name, what, self._trace.reads.get(name) or made)
            elif not self._probe.is_whole:
                what = f"no gradient reached Parameter `{name}` {steps}; whether the loss depends on it is not known"
                self._add("NAL402", name, f"{what} (only parts of the model were called)", made)
            else:
                what = f"no gradient reached Parameter `{name}` {steps}: nothing reads it"
                self._add("NAL205", name, what, made)

    def _cut(self, name: str) -> None:
        assert self._trace is not None
        cut = self._trace.reaching.get(name) or self._trace.escaped.get(name)
        code, how = _cause(cut)
        at = cut.place if cut is not None else None
        place = self._trace.reads.get(name) or at
        # Said only where the position of the finding does not say it already.
        where = f" ({at})" if at is not None and place is not None and str(at) != str(place) else ""
        what = f"no gradient reaches Parameter `{name}`, though the loss depends on it: {how}{where}"
        self._add(code, name, what, place, cause=at)

    def _with_zero_gradient(self, names: list[str]) -> None:
        names = [name for name in names if name not in self._explained]
        if not names or self._rerun is None or self._trace is None or self._probe.is_on_meta:
            return
        chosen = {name: self._probe.names[name] for name in names}
        others = {
            facts.name: self._probe.names[facts.name]
            for facts in self._facts.values()
            if facts.gradient is Gradient.NONZERO and facts.is_trainable and facts.name in self._probe.names
        }
        steps = _steps(self._probe.n_steps)
        try:
            revived = self._rerun.revived(chosen, others)
            stuck = {name: value for name, value in chosen.items() if name not in revived}
            dependent = self._rerun.depends_jointly_on(stuck) if stuck else set()
        except CannotRerun:
            return
        for name in stuck:
            place = self._trace.reads.get(name) or self._facts[name].place
            cut = self._trace.reaching.get(name)
            if name not in dependent:
                what = (
                    f"the gradient of Parameter `{name}` was exactly zero {steps}, and the loss does not depend on it"
                )
                self._add("NAL402", name, what, place)
            elif cut is not None and cut.reason in ("zero-gradient", "non-differentiable"):
                how = f"every path to the loss passes `{as_written(cut.operation, cut.place)}` ({cut.place})"
                what = f"the gradient of Parameter `{name}` is exactly zero: {how}"
                self._add("NAL204", name, what, place, cause=cut.place)
            else:
                what = f"the gradient of Parameter `{name}` was exactly zero {steps}, though the loss depends on it"
                self._add("NAL403", name, what, place, cause="zeros")

    # Causes on the side of the optimizer.

    def _optimized(self) -> None:
        for facts in self._facts.values():
            name, place = facts.name, facts.place
            if name in self._probe.hidden or name in self._explained or not facts.is_trainable or self._is_meant(facts):
                continue
            is_reached = facts.gradient is Gradient.NONZERO
            never = self._stepping.never_stepped(self._probe.tensor(name), facts) if is_reached else None
            if never is not None:
                what = f"Parameter `{name}` gets a gradient, but no step used it: {never.reason}{self._bad_gradients()}"
                self._add("NAL408", name, what, never.place)
            elif facts.was_finite and not facts.is_finite:
                self._add("NAL407", name, f"the gradient of Parameter `{name}` became infinite or NaN", place)
            elif not is_reached:
                continue
            elif not facts.is_in_optimizer and self._stepping.is_optimizer_known and not facts.has_moved:
                self._not_optimized(facts)
            elif facts.is_in_optimizer and facts.was_stepped and facts.has_moved is False and self._is_lost(name):
                what = f"no bit of Parameter `{name}` changed {_steps(self._probe.n_steps)}, though it was stepped"
                dtype = str(self._probe.names[name].dtype).removeprefix("torch.")
                self._add("NAL406", name, f"{what} ({dtype})", place)

    def _bad_gradients(self) -> str:
        bad = [facts.name for facts in self._facts.values() if facts.has_bad_gradient]
        if not bad:
            return ""
        more = f" and {len(bad) - 2} more" if len(bad) > 2 else ""
        return f" (the gradient of {quoted_names(tuple(bad[:2]))}{more} is infinite or NaN)"

    def _not_optimized(self, facts: ParameterFacts) -> None:
        """A module that no optimizer holds at all may be meant, such as the network of a perceptual loss."""
        severity = ""
        session = self._probe.session
        if session.is_trained_beside(self._probe) and not any(f.is_in_optimizer for f in self._facts.values()):
            if not self._probe.model.training or not session.is_in_use(self._probe):
                return
            severity = "warning"
        what = f"Parameter `{facts.name}` gets a gradient, but no optimizer holds it{self._foreign()}"
        self._add("NAL404", facts.name, what, facts.place, cause="optimizer", severity=severity)

    def _is_lost(self, name: str) -> bool:
        """Whether an update should have shown: not where a gradient is next to nothing in full precision, or is
        nothing but rounding, as of a bias before a normalisation."""
        parameter = self._probe.names[name]
        if parameter.element_size() >= 4 and not self._probe.has_large_gradient(parameter):
            return False
        try:
            return self._rerun is None or bool(self._rerun.depends_jointly_on({name: parameter}))
        except CannotRerun:
            return True

    def _foreign(self) -> str:
        own = {id(parameter) for parameter in (*self._now.values(), *self._probe.names.values())}
        n = sum(id(parameter) not in own for parameter in self._held)
        return f" (the optimizer holds {n} Parameters that are not part of the model)" if n else ""


def _derived_text(target: str, trainable: tuple[str, ...], orphans: list[str]) -> str:
    who = "it gets" if len(trainable) == 1 else "they get" if len(orphans) == len(trainable) else quoted_names(orphans)
    verb = "" if who in ("it gets", "they get") else " gets" if len(orphans) == 1 else " get"
    return (
        f"Parameter `{target}` is computed once from {quoted_names(trainable)}; Parameter() detaches it, so "
        f"{who}{verb} no gradient"
    )


_CUTS = frozenset({"NAL001", "NAL003", "NAL201", "NAL202", "NAL203", "NAL204", "NAL401"})
_CAUSES = {
    "no_grad": ("NAL203", "`{}` runs where gradients are disabled"),
    "checkpoint": ("NAL401", "`{}` runs in a reentrant checkpoint that gets no input with a gradient"),
    "function": ("NAL401", "the autograd function `{}` gives it none"),
    "detach": ("NAL202", "`{}` detaches it"),
    "non-differentiable": ("NAL204", "`{}` is not differentiable"),
    "zero-gradient": ("NAL204", "the gradient of `{}` is zero"),
}


def _cause(cut: Cut | None) -> tuple[str, str]:
    """The code, and the words, for where a graph was cut."""
    if cut is None:
        return "NAL401", "its graph is cut in a place that is not seen"
    code, words = _CAUSES[cut.reason]
    since = f", since {cut.since}" if cut.since is not None else ""
    # The rules speak of reads of the Parameter; what is cut further on is a cut.
    is_read = cut.is_direct or cut.reason in ("non-differentiable", "zero-gradient")
    return code if is_read else "NAL401", words.format(as_written(cut.operation, cut.place)) + since


def _steps(n: int) -> str:
    return {0: "in the backward pass", 1: "in 1 step"}.get(n, f"in {n} steps")
