"""Neural arithmetic units whose Parameters train, with the conventions of `torch.nn`."""

try:
    import torch  # noqa: F401
except ModuleNotFoundError as error:
    # In this package's name, so that `python -m` says it in one line.
    raise ModuleNotFoundError("nalu_reference needs torch: pip install torch", name=__name__) from error

from nalu_reference import functional, training
from nalu_reference.cells import NACCell, NALUCell, NAUCell, NMUCell
from nalu_reference.gated import GatedNAUNMU
from nalu_reference.inalu import INALU
from nalu_reference.nac import NAC, NACMul
from nalu_reference.nalu import GNALU, NALU
from nalu_reference.nau import NAU
from nalu_reference.nmu import NMU, SNMU
from nalu_reference.npu import NPU, ModifiedRealNPU, NaiveNPU, RealNPU
from nalu_reference.reciprocal import NMRU, NRU

__all__ = [
    "GNALU",
    "INALU",
    "NAC",
    "NALU",
    "NAU",
    "NMRU",
    "NMU",
    "NPU",
    "NRU",
    "SNMU",
    "GatedNAUNMU",
    "ModifiedRealNPU",
    "NACCell",
    "NACMul",
    "NALUCell",
    "NAUCell",
    "NMUCell",
    "NaiveNPU",
    "RealNPU",
    "functional",
    "training",
]
