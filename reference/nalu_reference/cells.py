"""Recurrent cells of NAC, NALU, NAU and NMU, with the conventions of `torch.nn.RNNCell`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from nalu_reference._unit import check_input, check_sizes
from nalu_reference.nac import NAC
from nalu_reference.nalu import NALU
from nalu_reference.nau import NAU
from nalu_reference.nmu import NMU

if TYPE_CHECKING:
    from nalu_reference._unit import Unit
    from nalu_reference.functional import ClampGradient


class _Cell(nn.Module):
    """h' = unit([x, h]): no other non-linearity, so that a sum over time stays a sum."""

    first_state: ClassVar[float] = 0.0

    def __init__(self, unit: Unit, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.unit = unit

    def reset_parameters(self) -> None:
        """Draw the Parameters of the unit again."""
        self.unit.reset_parameters()

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The next state, `(*, hidden_size)`, from an input `(*, input_size)` and the state before."""
        return self.unit(self.joined(input, hx))  # type: ignore[no-any-return]

    def joined(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """What the unit is given: `(*, input_size + hidden_size)`."""
        check_input(input, self.input_size)
        if hx is None:
            hx = input.new_full((*input.shape[:-1], self.hidden_size), self.first_state)
        check_input(hx, self.hidden_size, "hx")
        return torch.cat([input, hx.expand(*input.shape[:-1], -1)], dim=-1)

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}"


def _total(input_size: int, hidden_size: int) -> int:
    check_sizes(input_size=input_size, hidden_size=hidden_size)
    return input_size + hidden_size


class NACCell(_Cell):
    r"""A recurrent cell that adds to its state and subtracts from it: :math:`h' = \mathrm{NAC}([x, h])`.

    Source: Trask et al., Neural Arithmetic Logic Units, 2018, arXiv:1808.00508 (its recurrent tasks).

    Args:
        input_size: size of each input sample, at least 1.
        hidden_size: size of the state, at least 1.
        device: where the Parameters are made.
        dtype: a floating-point type for them.

    Shape:
        - input: :math:`(*, H_{in})` with any number of leading dimensions, :math:`H_{in}` = `input_size`.
        - hx: :math:`(*, H_{out})`, :math:`H_{out}` = `hidden_size`, or :math:`(H_{out})` for one state that all
          samples share; 0 if left out.
        - Output: :math:`(*, H_{out})`, the next state.

    Attributes:
        unit: the :class:`NAC` from `input_size + hidden_size` to `hidden_size`.

    Raises:
        ValueError: if a size is smaller than 1, or a last dimension is not as above.
        TypeError: if `dtype` or an input is not floating-point.

    Examples:
        >>> cell = NACCell(1, 1)
        >>> with torch.no_grad():
        ...     _ = cell.unit.W_hat.fill_(20.0), cell.unit.M_hat.fill_(20.0)
        >>> state = None
        >>> for x in (1.0, 2.0, 4.0):
        ...     state = cell(torch.tensor([x]), state)
        >>> state.round().tolist()
        [7.0]
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        unit = NAC(_total(input_size, hidden_size), hidden_size, device=device, dtype=dtype)
        super().__init__(unit, input_size, hidden_size)


class NALUCell(_Cell):
    r"""A recurrent cell that adds to its state or multiplies it: :math:`h' = \mathrm{NALU}([x, h])`.

    Source: Trask et al., Neural Arithmetic Logic Units, 2018, arXiv:1808.00508 (its recurrent tasks).

    Args:
        input_size: size of each input sample, at least 1.
        hidden_size: size of the state, at least 1.
        device: where the Parameters are made.
        dtype: a floating-point type for them.
        options: those of :class:`NALU`. Over many steps an unclipped log space overflows: set `max_log`.

    Shape:
        - input: :math:`(*, H_{in})` with any number of leading dimensions, :math:`H_{in}` = `input_size`.
        - hx: :math:`(*, H_{out})`, :math:`H_{out}` = `hidden_size`, or :math:`(H_{out})` for one state that all
          samples share; 0 if left out.
        - Output: :math:`(*, H_{out})`, the next state.

    Attributes:
        unit: the :class:`NALU` from `input_size + hidden_size` to `hidden_size`.

    Raises:
        ValueError: if a size is smaller than 1, an option is none of the NALU's, or a last dimension is not as above.
        TypeError: if `dtype` or an input is not floating-point.

    Examples:
        >>> cell = NALUCell(3, 2, max_log=20.0)
        >>> cell(torch.ones(5, 3)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: Any,
    ) -> None:
        unit = NALU(_total(input_size, hidden_size), hidden_size, device=device, dtype=dtype, **options)
        super().__init__(unit, input_size, hidden_size)


class _ClampedCell(_Cell):
    """A cell of a unit whose weights are clamped."""

    unit_type: ClassVar[type[NAU] | type[NMU]]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        clamp_gradient: ClampGradient = "one-sided",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        sizes = _total(input_size, hidden_size), hidden_size
        super().__init__(
            self.unit_type(*sizes, clamp_gradient=clamp_gradient, device=device, dtype=dtype), input_size, hidden_size
        )


class NAUCell(_ClampedCell):
    r"""A recurrent cell that adds to its state and subtracts from it: :math:`h' = \mathrm{NAU}([x, h])`.

    Source: Madsen and Johansen, Neural Arithmetic Units, ICLR 2020, arXiv:2001.05016, its sequential MNIST
    task (appendix). There, the network that makes the input trains as well;
    :func:`~nalu_reference.training.nau_z_regularizer` of what `joined` gives, over all steps, keeps it from making up
    for wrong weights.

    Args:
        input_size: size of each input sample, at least 1.
        hidden_size: size of the state, at least 1.
        clamp_gradient: what a weight outside of its bounds gets, as in the :class:`NAU`.
        device: where the Parameter is made.
        dtype: a floating-point type for it.

    Shape:
        - input: :math:`(*, H_{in})` with any number of leading dimensions, :math:`H_{in}` = `input_size`.
        - hx: :math:`(*, H_{out})`, :math:`H_{out}` = `hidden_size`, or :math:`(H_{out})` for one state that all
          samples share; 0 if left out.
        - Output: :math:`(*, H_{out})`, the next state.

    Attributes:
        unit: the :class:`NAU` from `input_size + hidden_size` to `hidden_size`.

    Raises:
        ValueError: if a size is smaller than 1, `clamp_gradient` is another word, or a last dimension is not as above.
        TypeError: if `dtype` or an input is not floating-point.

    Examples:
        >>> cell = NAUCell(1, 1)
        >>> with torch.no_grad():
        ...     _ = cell.unit.W.fill_(1.0)
        >>> state = None
        >>> for x in (1.0, 2.0, 4.0):
        ...     state = cell(torch.tensor([x]), state)
        >>> state.tolist()
        [7.0]
    """

    unit_type = NAU


class NMUCell(_ClampedCell):
    r"""A recurrent cell that multiplies its state: :math:`h' = \mathrm{NMU}([x, h])`.

    Source: Madsen and Johansen, Neural Arithmetic Units, ICLR 2020, arXiv:2001.05016, its sequential MNIST
    task (section 4.2). There, the network that makes the input trains as well;
    :func:`~nalu_reference.training.nmu_z_regularizer` of what `joined` gives, over all steps, keeps it from making up
    for wrong weights.

    Args:
        input_size: size of each input sample, at least 1.
        hidden_size: size of the state, at least 1.
        clamp_gradient: what a weight outside of its bounds gets, as in the :class:`NMU`.
        device: where the Parameter is made.
        dtype: a floating-point type for it.

    Shape:
        - input: :math:`(*, H_{in})` with any number of leading dimensions, :math:`H_{in}` = `input_size`.
        - hx: :math:`(*, H_{out})`, :math:`H_{out}` = `hidden_size`, or :math:`(H_{out})` for one state that all
          samples share; 1, the product of nothing, if left out.
        - Output: :math:`(*, H_{out})`, the next state.

    Attributes:
        unit: the :class:`NMU` from `input_size + hidden_size` to `hidden_size`.

    Raises:
        ValueError: if a size is smaller than 1, `clamp_gradient` is another word, or a last dimension is not as above.
        TypeError: if `dtype` or an input is not floating-point.

    Examples:
        >>> cell = NMUCell(1, 1)
        >>> with torch.no_grad():
        ...     _ = cell.unit.W.fill_(1.0)
        >>> state = None
        >>> for x in (1.0, 2.0, 4.0):
        ...     state = cell(torch.tensor([x]), state)
        >>> state.tolist()
        [8.0]
    """

    unit_type = NMU
    first_state = 1.0
