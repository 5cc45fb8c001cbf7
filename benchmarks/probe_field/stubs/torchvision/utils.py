"""Pictures are not kept."""

from __future__ import annotations

from typing import Any


def save_image(*_: object, **__: object) -> None:
    pass


def make_grid(images: Any, *_: object, **__: object) -> Any:
    return images[0] if getattr(images, "ndim", 0) == 4 else images
