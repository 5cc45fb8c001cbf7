"""Provenance of real models: build every class of a package on the meta device, and list what is derived.

Usage: python benchmarks/models.py {transformers,timm,diffusers} ... [--only TEXT]

Needs the packages it is asked for, and `nalu-lint[probe]`. Prints each derivation found (target, sources, place),
then how many classes were built, could not be built, and had a derivation; and the CPU time of construction with
the probe over that without. A derivation that is not in the source it points to is a defect of the probe.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import pkgutil
import signal
import time
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from nalu_lint.probe import construction
from nalu_lint.probe.places import shown_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Candidate = tuple[str, Callable[[], nn.Module]]

_SECONDS = 60  # for one class


def of_transformers() -> Iterator[Candidate]:
    """Every PreTrainedModel with its default configuration."""
    import transformers

    seen = set()
    for info in pkgutil.walk_packages(transformers.models.__path__, "transformers.models."):
        if ".modeling_" not in info.name or info.name.endswith(("_tf", "_flax")):
            continue
        try:
            module = importlib.import_module(info.name)
        except Exception as error:  # an optional dependency
            print(f"skipped {info.name}: {type(error).__name__}")
            continue
        for name, kind in sorted(vars(module).items()):
            if (
                inspect.isclass(kind)
                and issubclass(kind, transformers.PreTrainedModel)
                and kind.__module__ == info.name
            ):
                config = getattr(kind, "config_class", None)
                if config is not None and kind not in seen:
                    seen.add(kind)
                    yield f"{info.name.rpartition('.')[2]}.{name}", partial(_configured, kind, config)


def _configured(kind: Any, config: Any) -> Any:
    return kind(config())


def of_timm() -> Iterator[Candidate]:
    """Every registered model without pretrained weights."""
    import timm

    for name in timm.list_models():
        yield name, partial(timm.create_model, name, pretrained=False)


def of_diffusers() -> Iterator[Candidate]:
    """Every ModelMixin that can be built without arguments."""
    import diffusers

    for name in sorted(dir(diffusers)):
        try:
            kind = getattr(diffusers, name)
        except Exception:  # an optional dependency
            continue
        if inspect.isclass(kind) and issubclass(kind, diffusers.ModelMixin) and kind is not diffusers.ModelMixin:
            made: Any = kind
            yield name, made


PACKAGES = {"transformers": of_transformers, "timm": of_timm, "diffusers": of_diffusers}


def _too_slow(*_: Any) -> None:
    raise TimeoutError(f"more than {_SECONDS} s")


def measure(build: Callable[[], nn.Module]) -> tuple[list[Any], float, float]:
    """The derivations, and the CPU seconds of building without and with the probe."""
    with torch.device("meta"):
        start = time.process_time()
        build()
        plain = time.process_time() - start
        start = time.process_time()
        with construction() as built:
            model = build()
        probed = time.process_time() - start
    return built.derivations(model), plain, probed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("packages", nargs="+", choices=sorted(PACKAGES))
    parser.add_argument("--only", default="", help="classes whose name contains this")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, _too_slow)
    for package in options.packages:
        counts = {"built": 0, "not built": 0, "with a derivation": 0}
        plain = probed = 0.0
        for name, build in PACKAGES[package]():
            if options.only not in name:
                continue
            signal.alarm(_SECONDS)
            try:
                derivations, without, with_probe = measure(build)
            except (Exception, SystemExit) as error:
                counts["not built"] += 1
                if options.only:
                    print(f"{name}: {type(error).__name__}: {error}")
                continue
            finally:
                signal.alarm(0)
            counts["built"] += 1
            counts["with a derivation"] += bool(derivations)
            plain, probed = plain + without, probed + with_probe
            for d in derivations:
                place = f"{shown_path(d.place.path)}:{d.place.span.start.row}" if d.place else "?"
                how = "shares" if d.shared else "copies" if d.explicit else "computed from"
                print(f"{name}: {d.target} {how} {', '.join(d.sources)} at {place}", flush=True)
        numbers = ", ".join(f"{n} {what}" for what, n in counts.items())
        print(f"{package}: {numbers}; CPU time {plain:.1f} s without, {probed:.1f} s with the probe", flush=True)


if __name__ == "__main__":
    main()
