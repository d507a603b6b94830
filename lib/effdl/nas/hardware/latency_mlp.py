"""A learned latency: a small network reads the architecture, and alpha its gradient.

Papers: Luo et al., "EdgeNAS: Discovering Efficient Neural Architectures for Edge
Systems", and Xu et al., "Latency-Aware Differentiable Neural Architecture Search",
2020, https://arxiv.org/abs/2001.06392.

    LAT(W) = MLP(flattened W)        W (edges, K): one-hot rows, or a mixture's weights

fitted to architectures that were measured whole. It can learn what no sum can: an edge
that nothing leaves costs nothing, branches run side by side. Being differentiable in W,
it takes the place of the table in equation 9 of the survey:

    alpha minimises  CE + rate * LAT(softmax(alpha))

EdgeNAS trains w on one path, drawn uniformly; alpha sees the mixture.

When not to trust it: it was fitted to one-hot rows only. Between them, where the search
spends its time, nothing was ever measured; a sum is right there by definition, as the
mean over what could be drawn. And its gradient is not the difference of two latencies.

What differs: EdgeNAS's estimator learned from 100,000 architectures on a board that we
do not have; its text was not at hand, only its abstract. Sizes and training of the MLP
are this book's. So is the choice that alpha sees the mixture.
"""

import torch
from torch import Tensor, nn
from torch.optim import Adam

from effdl.checks import check_positive
from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.method import Method
from effdl.nas.gradient.steps import Objective, Searching
from effdl.nas.hardware.sampled_paths import step_on_paths, uniform_path


class LatencyMlp(nn.Module):
    """Two hidden layers from architectures to their cost.

    Args:
        inputs: Edges times candidates.
        hidden: Units of a hidden layer.

    Attributes:
        mean: Added to what the layers give, times ``scale``; set by the fit.
        scale: In the unit of the cost.

    Example:
        >>> LatencyMlp(30)(torch.zeros(7, 6, 5)).shape
        torch.Size([7])
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, inputs: int, *, hidden: int = 64) -> None:
        super().__init__()
        check_positive(inputs=inputs, hidden=hidden)
        self.layers = nn.Sequential(
            nn.Linear(inputs, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, 1),
        )
        self.register_buffer("mean", torch.tensor(0.0))
        self.register_buffer("scale", torch.tensor(1.0))

    def forward(self, weights: Tensor) -> Tensor:
        """Return the cost of each architecture (n,), or of one, ().

        Args:
            weights: (n, edges, K), or (edges, K) for one.
        """
        found = self.layers(weights.flatten(start_dim=-2)).squeeze(-1)
        return self.mean + self.scale * found


def fit_latency_mlp(
    weights: Tensor,
    costs: Tensor,
    *,
    hidden: int = 64,
    epochs: int = 100,
    batch_size: int = 64,
    learning_rate: float = 3e-3,
) -> LatencyMlp:
    """Return a predictor with the least mean squared error that Adam found.

    Its start and the order of batches come from PyTorch's generator. Its parameters
    take no gradients afterwards.

    Args:
        weights: Architectures that were measured, one-hot, (n, edges, K).
        costs: Of each, (n,), in any unit.
        hidden: Units of a hidden layer.
        epochs: Passes over all.
        batch_size: Architectures in a step.
        learning_rate: At first; it falls to 0 along half a cosine.

    Raises:
        ValueError: If the shapes do not fit, a cost is not finite, or all are equal.

    Example:
        >>> x = torch.eye(2).reshape(2, 1, 2)
        >>> predictor = fit_latency_mlp(x, torch.tensor([3.0, 5.0]))
        >>> predictor(x).round()
        tensor([3., 5.])
    """
    if weights.ndim != 3 or costs.shape != weights.shape[:1]:
        raise ValueError(
            "weights must be (n, edges, K) and costs (n,), got "
            f"{tuple(weights.shape)} and {tuple(costs.shape)}"
        )
    if not bool(costs.isfinite().all()) or not bool((costs != costs[:1]).any()):
        raise ValueError("costs must be finite, and not all equal")
    check_positive(epochs=epochs, batch_size=batch_size)
    predictor = LatencyMlp(weights[0].numel(), hidden=hidden)
    predictor.mean, predictor.scale = costs.mean(), costs.std()
    adam = Adam(predictor.parameters(), learning_rate)
    steps = epochs * -(-len(costs) // batch_size)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(costs)).split(batch_size):
            off = (predictor(weights[rows]) - costs[rows]) / predictor.scale
            adam.zero_grad()
            off.square().mean().backward()
            adam.step()
            cosine.step()
    return predictor.requires_grad_(requires_grad=False)


def add_predicted_cost(rate: float, predictor: nn.Module) -> Objective:
    """Return loss + rate * LAT, equation 9 with a learned LAT.

    Args:
        rate: Loss per unit of the predicted cost; 0 or larger.
        predictor: Maps weights (edges, K) to a cost, such as a :class:`LatencyMlp`.

    Raises:
        ValueError: If ``rate`` is negative or not finite.

    Example:
        >>> objective = add_predicted_cost(0.5, LatencyMlp(2))
        >>> objective(torch.tensor(1.0), torch.zeros(1, 2), None).shape
        torch.Size([])
    """
    if not 0 <= rate < float("inf"):
        raise ValueError(f"rate must be 0 or larger and finite, got {rate}")

    def objective(loss: Tensor, weights: Tensor, _searching: Searching) -> Tensor:
        return loss + rate * predictor(weights)

    return objective


def edgenas(rate: float, predictor: nn.Module) -> Method:
    """Return EdgeNAS as a method: uniform paths for w, a learned latency for alpha.

    Args:
        rate: As for :func:`add_predicted_cost`, with its error.
        predictor: Likewise.

    Example:
        >>> edgenas(0.1, LatencyMlp(30)).relax.__name__
        'softmax_weights'
    """
    return Method(
        objective=add_predicted_cost(rate, predictor),
        step=step_on_paths(_one_uniform_path),
    )


def _one_uniform_path(architecture: Architecture) -> list[Tensor]:
    return [uniform_path(architecture)]
