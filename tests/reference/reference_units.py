"""The units under test, each by a name, and a NumPy float64 version of each that shares nothing with them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from nalu_reference import (
    GNALU,
    INALU,
    NAC,
    NALU,
    NAU,
    NMRU,
    NMU,
    NPU,
    NRU,
    SNMU,
    GatedNAUNMU,
    ModifiedRealNPU,
    NACCell,
    NACMul,
    NaiveNPU,
    NALUCell,
    NAUCell,
    NMUCell,
    RealNPU,
)
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable

UNITS: dict[str, Callable[..., nn.Module]] = {
    "NAC": NAC,
    "NACMul": NACMul,
    "NACMul-clamp": lambda *sizes, **options: NACMul(*sizes, eps_mode="clamp", max_log=20.0, **options),
    "NALU": NALU,
    "NALU-scalar": lambda *sizes, **options: NALU(*sizes, gate="scalar", **options),
    "NALU-separate": lambda *sizes, **options: NALU(*sizes, shared_weight=False, max_log=20.0, **options),
    "NAU": NAU,
    "NMU": NMU,
    "INALU": INALU,
    "NPU": NPU,
    "RealNPU": RealNPU,
    "GNALU": GNALU,
    "SNMU": lambda *sizes, **options: SNMU(*sizes, **options).eval(),  # its noise has tests of its own
    "GatedNAUNMU": GatedNAUNMU,
    "INALU-shared": lambda *sizes, **options: INALU(*sizes, shared_weight=True, **options),
    "NRU": NRU,
    "NRU-eval": lambda *sizes, **options: NRU(*sizes, **options).eval(),
    "NMRU": NMRU,
    "NaiveNPU": NaiveNPU,
    "ModifiedRealNPU": ModifiedRealNPU,
}
CLASSES = (
    *(NAC, NACMul, NALU, NAU, NMU, INALU, NPU, RealNPU),
    *(GNALU, SNMU, GatedNAUNMU, NRU, NMRU, NaiveNPU, ModifiedRealNPU),
)
CELLS = (NACCell, NALUCell, NAUCell, NMUCell)


def make(name: str, in_features: int = 3, out_features: int = 2, **options: object) -> nn.Module:
    """A unit whose Parameters are away from the edges of clamps and from each other's zeros."""
    torch.manual_seed(7)
    layer = UNITS[name](in_features, out_features, **options)
    with torch.no_grad():
        for key, parameter in layer.named_parameters():
            if key == "g" and name.endswith("NPU"):
                parameter.uniform_(0.2, 0.8)
            elif key == "W_i":
                parameter.uniform_(-0.3, 0.3)
    return layer


class AllUnits(nn.Module):
    """Every unit, and every cell, in one forward: compiled, exported or sharded at once, which costs a third."""

    def __init__(self) -> None:
        super().__init__()
        self.units = nn.ModuleDict({name: make(name) for name in UNITS})
        torch.manual_seed(7)
        self.cells = nn.ModuleDict({cell.__name__: cell(3, 2) for cell in CELLS})

    def forward(self, x: torch.Tensor, state: torch.Tensor) -> dict[str, torch.Tensor]:
        return {
            **{name: unit(x) for name, unit in self.units.items()},
            **{name: cell(x, state) for name, cell in self.cells.items()},
        }


def inputs(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Numbers of both signs whose magnitudes are between 1/2 and 2."""
    generator = torch.Generator().manual_seed(11)
    magnitude = torch.rand(shape, generator=generator, dtype=torch.float64) * 1.5 + 0.5
    sign = torch.randint(0, 2, shape, generator=generator) * 2 - 1
    return (magnitude * sign).to(dtype)


def in_numpy(name: str, parameters: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """The output (N, O) for inputs (N, I), one number after the other."""
    outputs = next(value for key, value in parameters.items() if value.ndim == 2 and key != "G").shape[0]
    return np.array([[_ENTRY[name](parameters, row, o) for o in range(outputs)] for row in x])


def _w(p: dict[str, np.ndarray], o: int, i: int, suffix: str = "") -> float:
    return math.tanh(p[f"W_hat{suffix}"][o, i]) / (1 + math.exp(-p[f"M_hat{suffix}"][o, i]))


_PHI = (1 + 5**0.5) / 2


def _gnalu(p: dict[str, np.ndarray], x: np.ndarray, o: int) -> float:
    """With powers of the golden ratio, as the paper writes it."""

    def weight(i: int) -> float:
        w, m = p["W_hat"][o, i], p["M_hat"][o, i]
        return (_PHI ** (2 * w) - 1) / (_PHI ** (2 * w) + 1) / (1 + _PHI**-m)

    added = sum(weight(i) * x[i] for i in range(len(x)))
    multiplied = _PHI ** sum(weight(i) * math.log(abs(x[i]) + 1e-7, _PHI) for i in range(len(x)))
    g = 1 / (1 + _PHI ** -sum(p["G"][o, i] * x[i] for i in range(len(x))))
    return g * added + (1 - g) * multiplied


def _gated(p: dict[str, np.ndarray], x: np.ndarray, o: int) -> float:
    g = 1 / (1 + math.exp(-sum(p["G"][o, i] * x[i] for i in range(len(x)))))
    added = sum(min(1, max(-1, p["W_add"][o, i])) * x[i] for i in range(len(x)))
    return g * added + (1 - g) * _product([min(1, max(0, w)) for w in p["W_mul"][o]], x)


def _nru(p: dict[str, np.ndarray], x: np.ndarray, o: int, smooth: bool = True) -> float:
    result = 1.0
    for i in range(len(x)):
        w = p["W"][o, i]
        share = math.tanh(1000 * w) ** 2 if smooth else abs(w)
        result *= math.copysign(abs(x[i]) ** w, x[i]) * share + 1 - share
    return result


def _nmru(p: dict[str, np.ndarray], x: np.ndarray, o: int) -> float:
    both = [*x, *(1 / (value + 2**-23) for value in x)]
    turns = sum(w for w, value in zip(p["W"][o], both, strict=True) if value < 0)
    return _product(list(p["W"][o]), np.abs(both)) * math.cos(math.pi * turns)


def _sum(p: dict[str, np.ndarray], x: np.ndarray, o: int, suffix: str = "") -> float:
    return sum(_w(p, o, i, suffix) * x[i] for i in range(len(x)))


def _powers(p: dict[str, np.ndarray], x: np.ndarray, o: int, suffix: str = "", clamp: bool = False) -> float:
    result = 1.0
    for i in range(len(x)):
        result *= (max(abs(x[i]), 1e-7) if clamp else abs(x[i]) + 1e-7) ** _w(p, o, i, suffix)
    return result


def _nalu(p: dict[str, np.ndarray], x: np.ndarray, o: int, suffix: str = "", gate: int | None = None) -> float:
    g = 1 / (1 + math.exp(-sum(p["G"][o if gate is None else gate, i] * x[i] for i in range(len(x)))))
    return g * _sum(p, x, o) + (1 - g) * _powers(p, x, o, suffix)


def _product(weights: list[float], x: np.ndarray) -> float:
    return math.prod(w * value + 1 - w for w, value in zip(weights, x, strict=True))


def _inalu(p: dict[str, np.ndarray], x: np.ndarray, o: int, suffix: str = "_m") -> float:
    g = 1 / (1 + math.exp(-p["g"][o]))
    signs = _product([abs(_w(p, o, i, suffix)) for i in range(len(x))], np.sign(x))
    return g * _sum(p, x, o, "_a") + (1 - g) * _powers(p, x, o, suffix, clamp=True) * signs


def _npu(p: dict[str, np.ndarray], x: np.ndarray, o: int) -> float:
    """The real part of a product of complex powers, with Python's complex numbers."""
    result = complex(1)
    for i in range(len(x)):
        g = p["g"][i] if "g" in p else 1.0
        r = g * (abs(x[i]) + 1e-7) + 1 - g
        logarithm = complex(math.log(r), math.pi * g if x[i] < 0 else 0.0)
        power = complex(p["W_r"][o, i], p["W_i"][o, i] if "W_i" in p else 0.0)
        result *= np.exp(power * logarithm)
    return result.real


_ENTRY: dict[str, Callable[[dict[str, np.ndarray], np.ndarray, int], float]] = {
    "NAC": _sum,
    "NACMul": _powers,
    "NACMul-clamp": lambda p, x, o: _powers(p, x, o, clamp=True),
    "NALU": _nalu,
    "NALU-scalar": lambda p, x, o: _nalu(p, x, o, gate=0),
    "NALU-separate": lambda p, x, o: _nalu(p, x, o, "_mul"),
    "NAU": lambda p, x, o: sum(min(1, max(-1, p["W"][o, i])) * x[i] for i in range(len(x))),
    "NMU": lambda p, x, o: _product([min(1, max(0, w)) for w in p["W"][o]], x),
    "INALU": _inalu,
    "NPU": _npu,
    "RealNPU": _npu,
    "GNALU": _gnalu,
    "SNMU": lambda p, x, o: _product(list(p["W"][o]), x),
    "GatedNAUNMU": _gated,
    "INALU-shared": lambda p, x, o: _inalu(p, x, o, "_a"),
    "NRU": _nru,
    "NRU-eval": lambda p, x, o: _nru(p, x, o, smooth=False),
    "NMRU": _nmru,
    "NaiveNPU": _npu,
    "ModifiedRealNPU": _npu,
}
