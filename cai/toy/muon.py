"""The optimizer of the embedded model's training: Muon for matrices, Adam for the rest.

Muon moves a matrix by its momentum made nearly orthogonal (all singular values close to 1),
by a few steps of Newton's iteration. The iteration runs in bfloat16, as its source does: it need
not be exact, and takes a quarter of the time. Equal machines with equal thread counts still give
equal weights.

What this module does not know: the model, the data, the schedule.
Source: Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/ (coefficients, scaling).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

_NEWTON = (3.4445, -4.7750, 2.0315)
_NEWTON_STEPS = 5


def orthogonalised(matrices: torch.Tensor) -> torch.Tensor:
    """Matrices (count, rows, columns) with their singular values brought close to 1."""
    a, b, c = _NEWTON
    tall = matrices.shape[-2] > matrices.shape[-1]
    x: torch.Tensor = matrices.mT if tall else matrices
    x = (x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)).to(torch.bfloat16)
    for _ in range(_NEWTON_STEPS):
        square = x @ x.mT
        polynomial = torch.baddbmm(square, square, square, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    return (x.mT if tall else x).to(matrices.dtype)


class Muon(torch.optim.Optimizer):
    """Momentum, made orthogonal. Takes matrices only; those of one shape are handled together.

    `decay` pulls a matrix towards 0 by that share of the learning rate: without it, attention
    hardens before it has learnt where to look.
    """

    def __init__(
        self, matrices: Iterable[torch.nn.Parameter], lr: float, momentum: float = 0.95, decay: float = 0.1
    ) -> None:
        super().__init__(list(matrices), {"lr": lr, "momentum": momentum, "decay": decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move every matrix once."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[torch.nn.Parameter]] = {}
            for matrix in group["params"]:
                by_shape.setdefault(matrix.shape, []).append(matrix)
            for shape, matrices in by_shape.items():
                moves = orthogonalised(torch.stack([self._momentum(m, group["momentum"]) for m in matrices]))
                scale = max(1.0, shape[0] / shape[1]) ** 0.5
                for matrix, move in zip(matrices, moves, strict=True):
                    matrix.mul_(1 - group["lr"] * group["decay"])
                    matrix.add_(move, alpha=-group["lr"] * scale)

    def _momentum(self, matrix: torch.nn.Parameter, momentum: float) -> torch.Tensor:
        gradient = matrix.grad
        assert gradient is not None
        state = self.state[matrix]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(matrix)
        average: torch.Tensor = state["momentum"]
        average.lerp_(gradient, 1 - momentum)
        return gradient.lerp(average, momentum)
