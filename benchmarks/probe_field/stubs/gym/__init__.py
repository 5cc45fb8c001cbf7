"""In place of gym: an environment of noise with the interface of CartPole."""

from __future__ import annotations

from typing import Any

import numpy as np


class _Space:
    n = 2
    shape = (4,)

    def sample(self) -> int:
        return int(np.random.randint(2))


class _Env:
    action_space = observation_space = _Space()
    x_threshold, theta_threshold_radians = 2.4, 0.2

    class spec:  # noqa: N801 - gym calls it so
        reward_threshold = 475.0

    def __init__(self) -> None:
        self.unwrapped = self
        self.n = 0

    def reset(self, **_: object) -> Any:
        self.n = 0
        return np.random.randn(4).astype(np.float32), {}

    def seed(self, *_: object) -> None:
        pass

    def render(self) -> None:
        pass

    def step(self, action: object) -> Any:
        self.n += 1
        return np.random.randn(4).astype(np.float32), 1.0, self.n >= 12, False, {}


def make(*_: object, **__: object) -> _Env:
    return _Env()
