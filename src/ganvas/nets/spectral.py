"""Spectral normalization, and the largest singular values of a network's layers."""

from __future__ import annotations

from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

M = TypeVar("M", bound=nn.Module)
WEIGHTED = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.Embedding)


class Spectral(nn.Module):
    """Spectral normalization: W -> W / sigma(W).

    sigma is the largest singular value of W as a matrix [outputs, the rest]. Spectral
    Normalization for Generative Adversarial Networks, Miyato et al., 2018,
    arXiv:1802.05957, section 2.1; `dim`: which dimension of W counts the outputs.

    sigma is one round of power iteration from the vector u that is kept, in float32; u
    v^T is its gradient. Algorithm 1 of the paper moves u on once for each update of W,
    and so does this: in training, u moves at the first forward pass that finds W
    changed, which `seen` tells, |W^T u| as it was last. All other passes until the next
    update find the same u, so that neither micro-batches, nor the opponent's turn, nor
    how often a network is called, nor a resumed run changes anything. In evaluation u
    stays, and sigma is as in ajbrock/BigGAN-PyTorch.
    """

    u: Tensor
    seen: Tensor

    def __init__(self, weight: Tensor, dim: int = 0) -> None:
        super().__init__()
        self.dim = dim
        u = torch.randn(weight.shape[dim], dtype=weight.dtype, device=weight.device)
        # Without values, on the meta device, torch would normalize it in Python.
        self.register_buffer("u", u if u.is_meta else F.normalize(u, dim=0))
        self.register_buffer("seen", torch.zeros_like(self.u[0]))

    def forward(self, weight: Tensor) -> Tensor:
        """Map a weight to the same shape, divided by its largest singular value."""
        with torch.autocast(weight.device.type, enabled=False):
            matrix = as_matrix(weight, self.dim)
            with torch.no_grad():
                back = matrix.T @ self.u
                if self.training:
                    back = self._moved_on(matrix, back)
                v = F.normalize(back, dim=0)
            return weight / torch.linalg.vector_norm(matrix @ v)

    def _moved_on(self, matrix: Tensor, back: Tensor) -> Tensor:
        """W^T u, with u after one more round of power iteration if W has changed.

        Without a query of the device, which would wait for it.
        """
        changed = torch.linalg.vector_norm(back) != self.seen
        self.u.copy_(
            torch.where(changed, F.normalize(matrix @ F.normalize(back, dim=0), dim=0), self.u)
        )
        back = matrix.T @ self.u
        self.seen.copy_(torch.linalg.vector_norm(back))
        return back

    def extra_repr(self) -> str:
        """The dimension that counts the outputs, unless it is the first."""
        return f"dim={self.dim}" if self.dim else ""


def as_matrix(weight: Tensor, dim: int = 0) -> Tensor:
    """View a weight as a matrix [outputs, the rest]."""
    return weight.movedim(dim, 0).flatten(1)


def spectral(module: M) -> M:
    """Normalize the weight of `module` from now on.

    It is a convolution, linear layer or embedding.
    """
    dim = 1 if isinstance(module, nn.ConvTranspose2d) else 0
    weight = module.weight
    assert isinstance(weight, Tensor)
    parametrize.register_parametrization(module, "weight", Spectral(weight, dim), unsafe=True)
    return module


def spectral_(net: M, *, embeddings: bool = True) -> M:
    """Normalize every convolution, linear layer and (if set) embedding of `net`.

    Initialise the weights first.
    """
    for module in list(net.modules()):
        if isinstance(module, WEIGHTED) and (embeddings or not isinstance(module, nn.Embedding)):
            spectral(module)
    return net


def raw_weights(net: nn.Module) -> dict[str, tuple[Tensor, int]]:
    """Layer -> (its weight as the optimizer has it, the dimension of its outputs).

    The weight is that before any normalization.
    """
    found = {}
    for name, module in net.named_modules():
        if not isinstance(module, WEIGHTED):
            continue
        weight = (
            module.parametrizations.weight.original  # pyright: ignore[reportAttributeAccessIssue]
            if parametrize.is_parametrized(module)
            else module.weight
        )
        found[name] = (weight, 1 if isinstance(module, nn.ConvTranspose2d) else 0)
    return found


@torch.no_grad()
def singular_values(net: nn.Module, count: int = 3) -> dict[str, Tensor]:
    """The `count` largest singular values of normalized layers, by name.

    `sigma0/LAYER`, ... of the first layer and of every normalized one, before
    normalization. What Brock et al., 2018, arXiv:1809.11096, section 4.1 and appendix
    F, watch for signs of collapse.

    By `subspace_sigmas`: within a percent or two, for a few products with each matrix.
    """
    weights = raw_weights(net)
    normalized = {n for n, m in net.named_modules() if parametrize.is_parametrized(m)}
    first = next((n for n in weights if not isinstance(net.get_submodule(n), nn.Embedding)), None)
    found = {}
    for name, weight in weights.items():
        if name == first or name in normalized:
            values = subspace_sigmas(as_matrix(*weight), count)
            found |= {f"sigma{i}/{name}": value for i, value in enumerate(values)}
    return found


@torch.no_grad()
def subspace_sigmas(matrix: Tensor, count: int = 3, rounds: int = 12, spare: int = 5) -> Tensor:
    """The `count` largest singular values of `matrix` [m, n], largest first.

    By power iteration of a block of vectors (`spare` more than `count`, which makes it
    converge sooner). It starts from the same vectors each time and draws nothing. Fewer
    if the matrix has fewer.
    """
    with torch.autocast(matrix.device.type, enabled=False):
        matrix = matrix.float()
        k = min(count + spare, *matrix.shape)
        seeded = torch.Generator().manual_seed(0)
        start = torch.randn(matrix.shape[1], k, generator=seeded, dtype=torch.float32).to(
            matrix.device
        )
        block = torch.linalg.qr(start)[0]
        for _ in range(rounds):
            block = torch.linalg.qr(matrix.T @ (matrix @ block))[0]
        return torch.linalg.svdvals(matrix @ block)[:count]


def orthogonality(net: nn.Module, skip: tuple[str, ...] = ()) -> Tensor:
    """Orthogonality penalty: sum over layers of |W W^T * (1 - I)|^2 / 2 (Frobenius).

    It penalizes the filters' overlaps and leaves their lengths free. Large Scale GAN
    Training, Brock et al., 2018, arXiv:1809.11096, equation 4, halved as in
    ajbrock/BigGAN-PyTorch, whose step along 2 (W W^T * (1 - I)) W this gives. `skip`:
    layers left out, by the beginning of their names.
    """
    total = torch.zeros((), device=next(net.parameters()).device)
    with torch.autocast(total.device.type, enabled=False):
        for name, (weight, dim) in raw_weights(net).items():
            if not name.startswith(skip):
                matrix = as_matrix(weight, dim)
                gram = matrix @ matrix.T
                total = total + (gram - torch.diag(gram.diagonal())).square().sum() / 2
    return total
