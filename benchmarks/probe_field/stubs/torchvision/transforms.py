"""Transforms of tensors; those that only augment give what they are given."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional


class Compose:
    def __init__(self, transforms: list[Any]) -> None:
        self.transforms = transforms

    def __call__(self, image: Any) -> Any:
        for transform in self.transforms:
            image = transform(image)
        return image


class ToTensor:
    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __call__(self, image: Any) -> Any:
        return image


class RandomHorizontalFlip(ToTensor):
    pass


class Pad(ToTensor):
    pass


class ToPILImage(ToTensor):
    pass


class Normalize:
    def __init__(self, mean: Any, std: Any, *_: object) -> None:
        self.mean, self.std = (
            torch.tensor(values, dtype=torch.float).flatten()[:, None, None] for values in (mean, std)
        )

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        n = len(image)
        return (image - self.mean[:n]) / self.std[:n]


class Resize:
    def __init__(self, size: Any, *_: object, **__: object) -> None:
        self.size = (size, size) if isinstance(size, int) else tuple(size)

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        return functional.interpolate(image[None], self.size)[0]


class Scale(Resize):
    pass


class CenterCrop(Resize):
    pass


class RandomCrop(Resize):
    pass


class RandomResizedCrop(Resize):
    pass


class Lambda:
    def __init__(self, function: Any) -> None:
        self.function = function

    def __call__(self, image: Any) -> Any:
        return self.function(image)
