"""In place of torchvision: images of noise, so that scripts need no downloads. See benchmarks/probe_field/run.py."""

from . import datasets, transforms, utils

__all__ = ["datasets", "transforms", "utils"]
__version__ = "0.0"
