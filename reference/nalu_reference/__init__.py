"""Neural arithmetic units whose Parameters train, with the conventions of `torch.nn`."""

from nalu_reference.nac import NAC

__all__ = ["NAC"]
