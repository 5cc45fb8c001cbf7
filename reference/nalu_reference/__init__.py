"""Neural arithmetic units whose Parameters train, with the conventions of `torch.nn`."""

try:
    import torch  # noqa: F401
except ModuleNotFoundError as error:
    # In this package's name, so that `python -m` says it in one line.
    raise ModuleNotFoundError("nalu_reference needs torch: pip install torch", name=__name__) from error

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
