"""Neural arithmetic units whose Parameters train, with the conventions of `torch.nn`."""

from nalu_reference import functional, training
from nalu_reference.cells import NACCell, NALUCell
from nalu_reference.inalu import INALU
from nalu_reference.nac import NAC, NACMul
from nalu_reference.nalu import NALU
from nalu_reference.nau import NAU
from nalu_reference.nmu import NMU
from nalu_reference.npu import NPU, RealNPU

__all__ = [
    "INALU",
    "NAC",
    "NALU",
    "NAU",
    "NMU",
    "NPU",
    "NACCell",
    "NACMul",
    "NALUCell",
    "RealNPU",
    "functional",
    "training",
]
