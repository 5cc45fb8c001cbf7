"""One training run, however it is entered: the models that take part, their calls, the optimizers and the steps."""

from __future__ import annotations

import weakref
from collections import deque
from contextlib import ExitStack
from functools import wraps
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

import torch
from torch import distributed, nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from nalu_lint.probe.containment import contained
from nalu_lint.probe.distributed import unwrapped
from nalu_lint.probe.homes import outermost_modules
from nalu_lint.probe.naming import variable_of_tensor
from nalu_lint.probe.optimizers import Known, Optimizers, parameters_of
from nalu_lint.probe.places import Place, is_inside, user_place
from nalu_lint.probe.provenance import leaves_of
from nalu_lint.probe.recording import Recorder
from nalu_lint.probe.stepping import Stepping
from nalu_lint.probe.watching import watch_parameters
from nalu_lint.probe.writing import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from nalu_lint.probe.tape import Tape
    from nalu_lint.probe.tracking import Tracks
    from nalu_lint.probe.verdict import Verdict

_SEARCHES = 8  # so many times, models that take part are looked for
_SKIPPED = 20  # more steps may be left out by a gradient scaler than are observed


class Fresh:
    """A Parameter that was made on the forward path of `root`."""

    def __init__(self, parameter: torch.Tensor, place: Place | None, root: nn.Module | None) -> None:
        self.reference = weakref.ref(parameter)
        self.place = place
        self.root = root
        self.has_gradient = False
        if parameter.requires_grad and parameter.is_leaf:
            parameter.register_post_accumulate_grad_hook(self._arrived)

    @contained
    def _arrived(self, parameter: torch.Tensor) -> None:
        self.has_gradient |= parameter.grad is not None


class LeafBackward(NamedTuple):
    """A backward pass of a loss that has no graph."""

    was_seen: bool = False
    place: Place | None = None
    is_unasked: bool = False  # nothing asks for a gradient of it: it was not wrapped anew to have one


class Loose(nn.Module):
    """Stands for the module that tensors in an optimizer do not have."""

    def __init__(self, tensors: dict[str, torch.Tensor]) -> None:
        super().__init__()
        self._parameters.update(tensors)  # type: ignore[arg-type]  # they may be plain tensors


class Watching(Protocol):
    """What a session tells whoever watches a model that takes part, and asks it."""

    model: nn.Module
    tracks: Tracks

    @property
    def has_gradient(self) -> bool: ...
    @property
    def is_optimized(self) -> bool: ...
    @property
    def is_trained(self) -> bool: ...
    @property
    def is_finished(self) -> bool: ...
    @property
    def verdicts(self) -> tuple[Verdict, ...]: ...

    def observe(self, session: Session[Any]) -> None: ...
    def extend(self) -> None: ...
    def before_step(self, optimizer: Any, n_done: int) -> None: ...
    def after_step(self, optimizer: Any) -> None: ...
    def look_at_skipped(self, optimizer: Any) -> None: ...
    def settle(self) -> None: ...
    def conclude(self, error: BaseException | None) -> None: ...


P = TypeVar("P", bound=Watching)


class Session(Generic[P]):
    """What all probes of a run share.

    `probe_of` makes the probe of a model that takes part: of the outermost modules that hold a tensor from which a
    loss was computed, or one that an optimizer holds. `before_backward` is called before each backward pass, and
    `on_done` once `steps` optimizer steps were made.
    """

    def __init__(
        self,
        probe_of: Callable[[nn.Module], P],
        *,
        steps: int | None = None,
        wait: int = 0,
        before_backward: Callable[[], None] = lambda: None,
        on_step: Callable[[int], None] | None = None,
        on_done: Callable[[], None] = lambda: None,
    ) -> None:
        self.probes: list[P] = []
        self.recorder = Recorder()
        self.optimizers = Optimizers()
        self.fresh: list[Fresh] = []
        self.n_steps = 0
        self.n_backwards = 0
        self.leaf_backward = LeafBackward()
        self.has_seen_backward = False
        self.is_finished = False
        self.is_rerunning = False
        self._probe_of = probe_of
        self._before_backward = before_backward
        self._on_step = on_step
        self._on_done = on_done
        self._limit = steps
        self._waiting: list[P] = []
        self._wait = wait  # steps that are still let go by; where there is no optimizer, backward passes
        self._stepping: Stepping | None = None
        self._originals: dict[Any, Any] = {}  # of the functions that are replaced
        self._writer = Writer(self.recorder, self._originals)
        self._marks: deque[int] = deque([0], maxlen=4)  # calls before each of the last backward passes
        self._is_inside = False
        self._has_news = True  # a Parameter or an optimizer was made since graphs were last looked at
        self._n_optimizers = 0
        self._n_searches = 0
        self._covered: dict[int, weakref.ref[torch.Tensor]] = {}  # tensors that were looked for
        self._stack = ExitStack()
        self._step_hooks: list[Any] = []

    # Begin and end.

    def open(self) -> None:
        """Listen, from now on."""
        self.recorder.open()
        self._stack.callback(self.recorder.close)
        self.optimizers.open()
        self._stack.callback(self.optimizers.close)
        self._stack.enter_context(watch_parameters(self._made))
        self._step_hooks = [
            register_optimizer_step_pre_hook(self._before_step),
            register_optimizer_step_post_hook(self._after_step),
        ]
        # loss.backward() is an operation that a function mode sees, and leaving the mode has to come before.
        self._patch(torch.Tensor, "backward", self._watched)
        self._patch(torch.autograd, "backward", self._watched)
        self._patch(torch.autograd, "grad", self._noticed)
        self._patch(torch.amp.GradScaler, "step", self._scaled)
        if distributed.is_available():  # the processes take their decisions together, so that has to come first
            self._patch(distributed, "destroy_process_group", self._finished_before)

    def close(self) -> None:
        """Stop listening."""
        for hook in self._step_hooks:  # may be running while the last step is counted
            hook.remove()
        self._step_hooks.clear()
        self._writer.close()
        self._stack.close()

    def finish(self, error: BaseException | None = None) -> None:
        """Stop listening and let every probe find its causes. All processes call it together."""
        if self.is_finished:
            return
        self.is_finished = True
        self._writer.close()
        self._stack.close()
        self.is_rerunning = True
        for probe in self.probes:
            contained(probe.settle)()
        stepped = [t.parameter for p in self.probes for t in p.tracks.values() if t.facts.was_stepped]
        self._stepping = Stepping(self.optimizers, stepped, self.n_steps, self.n_backwards)
        for probe in self.probes:
            contained(probe.conclude)(error)

    @property
    def tape(self) -> Tape | None:
        """A whole step, where one could be written down."""
        return self._writer.done

    @property
    def stepping(self) -> Stepping:
        """What the optimizers did, once all is over."""
        assert self._stepping is not None
        return self._stepping

    def is_trained_beside(self, probe: P) -> bool:
        """Whether another model gets gradients and has an optimizer."""
        return any(other is not probe and other.is_trained for other in self.probes)

    def is_in_use(self, probe: P) -> bool:
        """Whether the loop goes on calling the model: it is no copy that was used for one backward pass."""
        first, last = self.recorder.span(probe.model.modules())
        return self.n_backwards < 3 or any(first <= mark < last for mark in self._marks)

    def concerned(self) -> list[P]:
        """The probes that there is something to say of.

        Of a model that only passes gradients on there is not, nor of one that an optimizer holds in place of another
        which no optimizer holds.
        """
        found = [probe for probe in self.probes if probe.is_finished]
        if any(probe.is_optimized for probe in found):
            found = [probe for probe in found if probe.is_optimized or self.is_in_use(probe)]
        is_mistaken = any(v.code in ("NAL404", "NAL405") and v.level == "error" for p in found for v in p.verdicts)
        kept = []
        for probe in found:
            is_called = self.recorder.was_used(probe.model.modules())
            if is_mistaken and not probe.has_gradient and not is_called:
                continue
            if probe.is_optimized or probe.verdicts:
                kept.append(probe)
        return kept or found

    def _patch(self, owner: Any, name: str, wrap: Callable[[Any], Any]) -> None:
        original = getattr(owner, name)
        replacement = wrap(original)
        self._originals[replacement] = original
        setattr(owner, name, replacement)
        self._stack.callback(setattr, owner, name, original)

    def _finished_before(self, destroy: Any) -> Any:
        def destroy_process_group(*args: Any, **kwargs: Any) -> Any:
            self.finish()
            return destroy(*args, **kwargs)

        return destroy_process_group

    # Models that take part.

    def include(self, probe: P) -> None:
        """Let a probe take part, and watch its model, once the steps that are let go by are over."""
        if self._wait:
            self._waiting.append(probe)
            return
        self.probes.append(probe)
        probe.observe(self)
        self._cover(track.parameter for track in probe.tracks.values())

    def _cover(self, tensors: Iterable[torch.Tensor]) -> None:
        for tensor in tensors:
            self._covered[id(tensor)] = weakref.ref(tensor)

    def _is_covered(self, tensor: torch.Tensor) -> bool:
        reference = self._covered.get(id(tensor))
        return reference is not None and reference() is tensor

    def _discover(self, leaves: Iterable[torch.Tensor]) -> None:
        """Find the models of these leaves, and of what optimizers hold."""
        held = [p for optimizer, _ in self.optimizers.alive() for p in parameters_of(optimizer)]
        missing = {id(t): t for t in (*leaves, *held) if not self._is_covered(t)}
        if not missing or self._n_searches == _SEARCHES:
            return
        self._n_searches += 1
        known = {id(probe.model): probe for probe in self.probes}
        roots = [(root, {id(p) for p in root.parameters()} & missing.keys()) for root in outermost_modules()]
        # What the loop calls goes before what only shares its Parameters.
        for root, _ in sorted(
            (pair for pair in roots if pair[1]), key=lambda pair: (not self._is_called(pair[0]), -len(pair[1]))
        ):
            probe = known.get(id(unwrapped(root)))
            if probe is not None:
                probe.extend()
                self._cover(root.parameters())
            elif not all(map(self._is_covered, root.parameters())):
                self.include(self._probe_of(root))
        loose = {id(p): p for p in held if not self._is_covered(p) and not self.optimizers.homes.has(p)}
        if loose:
            self.include(self._probe_of(Loose(_named(loose.values()))))
        self._cover(missing.values())

    def _is_called(self, root: nn.Module) -> bool:
        return self.recorder.was_called(unwrapped(root))

    # What happens meanwhile.

    @contained
    def _made(self, parameter: torch.Tensor, data: torch.Tensor) -> None:
        self._has_news = True
        if not self.recorder.is_in_forward or self.is_rerunning or torch.compiler.is_compiling():
            return
        if not is_inside("torch/distributed/") and all(f.reference() is not parameter for f in self.fresh[-8:]):
            self.fresh.append(Fresh(parameter, user_place(), self.recorder.outermost))

    def _watched(self, original: Any) -> Any:
        def backward(tensors: Any, *args: Any, **kwargs: Any) -> Any:
            if self._is_inside or self.is_finished:
                return original(tensors, *args, **kwargs)
            self._is_inside = True
            try:
                self._note_backward([tensors] if isinstance(tensors, torch.Tensor) else list(tensors))
                with self._writer.paused():
                    result = original(tensors, *args, **kwargs)
                    self._after_backward()
                return result
            finally:
                self._is_inside = False
                if not self.optimizers.alive():
                    self._end_of_step()

        return backward

    def _end_of_step(self) -> None:
        """Where nothing is known to step, each backward pass counts."""
        if self._wait > 1:
            self._wait -= 1
        elif self._wait:
            self._end_wait()
        else:
            self._writer.begin_anew()

    @contained
    def _end_wait(self) -> None:
        self._wait = 0
        waiting, self._waiting = self._waiting, []
        for probe in waiting:
            self.include(probe)

    @property
    def is_waiting(self) -> bool:
        """Whether steps are still let go by."""
        return self._wait > 0

    def _noticed(self, original: Any) -> Any:
        @wraps(original)
        def grad(*args: Any, **kwargs: Any) -> Any:
            self.has_seen_backward = True
            return original(*args, **kwargs)

        return grad

    @contained
    def _note_backward(self, losses: list[Any]) -> None:
        self._before_backward()
        if self._wait:
            return
        self.has_seen_backward = True
        self.n_backwards += 1
        self._marks.append(self.recorder.n_calls)
        tensors = [loss for loss in losses if isinstance(loss, torch.Tensor)]
        self._writer.add_losses(tensors)
        is_worth_a_look = self._is_worth_a_look()
        leaves = [leaf for loss in tensors for leaf in leaves_of(loss)] if is_worth_a_look else []
        if tensors and (all(loss.grad_fn is None for loss in tensors) or self._are_numbers(leaves)):
            unasked = not any(loss.requires_grad for loss in tensors)
            self.leaf_backward = LeafBackward(True, user_place(), unasked)
            self._discover(p for module in outermost_modules() if self._is_called(module) for p in module.parameters())
        elif is_worth_a_look:
            self._discover(leaf for leaf in leaves if isinstance(leaf, nn.Parameter))

    def _are_numbers(self, leaves: list[torch.Tensor]) -> bool:
        """Whether a loss was computed from nothing but numbers that nobody trains: losses that were wrapped anew."""
        if not leaves or any(leaf.numel() != 1 or isinstance(leaf, nn.Parameter) for leaf in leaves):
            return False
        held = {id(p) for optimizer, _ in self.optimizers.alive() for p in parameters_of(optimizer)}
        return not any(id(leaf) in held for leaf in leaves)

    def _is_worth_a_look(self) -> bool:
        """Whether this graph may have leaves that others had not: to walk through it takes time in each step."""
        n_optimizers = sum(1 for _ in self.optimizers.alive())
        has_news = self._has_news or n_optimizers != self._n_optimizers
        self._has_news, self._n_optimizers = False, n_optimizers
        return has_news or self.n_backwards & (self.n_backwards - 1) == 0  # 1, 2, 4, 8, ...

    @contained
    def _after_backward(self) -> None:
        for probe in self.probes:
            probe.tracks.look()

    def _scaled(self, original: Any) -> Any:
        def step(scaler: Any, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
            if self.is_finished:
                return original(scaler, optimizer, *args, **kwargs)
            known = self.optimizers.add(optimizer)
            before = known.n_steps
            result = original(scaler, optimizer, *args, **kwargs)
            if known.n_steps == before and scaler.is_enabled():
                self._skipped(known, optimizer)
            return result

        return step

    @contained
    def _skipped(self, known: Known, optimizer: Any) -> None:
        if self._wait:
            return
        known.n_skipped += 1
        known.step_place = known.step_place or user_place()
        if known.n_skipped & (known.n_skipped - 1) == 0:  # 1, 2, 4, 8, ...
            for probe in self.probes:
                probe.look_at_skipped(optimizer)
        if self._limit is not None and known.n_skipped >= self._limit + _SKIPPED and not self.n_steps:
            self._end()

    @contained
    def _before_step(self, optimizer: Any, args: Any, kwargs: Any) -> tuple[Any, Any] | None:
        """The arguments to go on with, where others do than were given."""
        if self.is_finished or self._wait:
            return None
        self._writer.before_step()
        known = self.optimizers.add(optimizer)
        known.step_place = known.step_place or user_place()
        if not self.n_backwards:  # gradients came another way
            self._before_backward()
            self._discover(())
        for probe in self.probes:
            probe.before_step(optimizer, known.n_steps)
        return self._writer.with_closure(args, kwargs)

    @contained
    def _after_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if self.is_finished:
            return
        known = self.optimizers.add(optimizer)
        if self._wait:
            known.n_waited += 1
            if known.n_waited == self._wait:
                self._end_wait()
            return
        groups = getattr(optimizer, "param_groups", ())
        known.had_rate |= any(isinstance(g.get("lr", 1.0), torch.Tensor) or g.get("lr", 1.0) != 0 for g in groups)
        for probe in self.probes:
            probe.after_step(optimizer)
        if self.n_backwards or self.probes:  # one that holds nothing of a living model is one of the training, too
            known.n_steps += 1
            self._writer.after_step(optimizer, {id(each) for each, known in self.optimizers.alive() if known.n_steps})
            self._count(known.n_steps)
        self._writer.resume()

    def _count(self, step: int) -> None:
        if step <= self.n_steps:
            return
        self.n_steps = step
        for probe in self.probes:
            probe.tracks.poll()
        if self._on_step is not None:
            self._on_step(step)
        if step == self._limit:
            self._end()

    def _end(self) -> None:
        self.finish()
        self._on_done()


def _named(tensors: Iterable[torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors by what the code that runs calls them."""
    found: dict[str, torch.Tensor] = {}
    for number, tensor in enumerate(tensors):
        name = variable_of_tensor(tensor) or f"tensor {number}"
        found[name if name not in found else f"{name} {number}"] = tensor
    return found
