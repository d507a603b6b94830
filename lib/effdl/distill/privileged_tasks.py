"""Four tasks that show when privileged information helps a student.

Paper: Lopez-Paz et al., "Unifying distillation and privileged information", ICLR 2016,
https://arxiv.org/abs/1511.03643, section 5, experiments 1 to 4.

A plane alpha in d dimensions decides on two classes. All noise is N(0, 1).

    clean labels         x* = <alpha, x>           y = 1[x* + noise > 0]
    clean inputs         x = x* + noise            y = 1[<alpha, x*> > 0]
    relevant features    x* = x_J                  y = 1[<alpha_J, x*> > 0]
    features by sample   x* = x_Ji, Ji random      y = 1[<weights, x*> > 0]

The student sees x. In the first x* undoes the noise of the labels, in the third it
says where to look: both tell how y depends on x. In the second x* tells what the
noise was, which helps next to nothing where one has to live with noise. In the
fourth the rule is not linear in x: the best linear student is right in little more
than half of all cases, with or without a teacher.

What differs: J are the first three features, as in the authors' program; the paper
draws them, which for these x is the same. The fourth task is three tasks. The paper
writes alpha_Ji for the weights: then the teacher, which is not told Ji, does not know
its weights either, and is near chance. Their program has the same three weights in
every sample, another threshold (the median), and draws J once for all training data
and once more for all test data. Here Ji is drawn for every sample, and ``fixed``
chooses the weights: with the same three, the teacher is nearly always right.

Before trusting it: these are made so that one knows what is going on. Nothing in them
says how large the effect would be on data that nobody made.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from effdl.checks import check_positive
from effdl.data.digits import Split


@dataclass(frozen=True)
class PrivilegedData:
    """Examples (x, x*, y); ``ValueError`` if they are not equally many.

    Attributes:
        inputs: What the student sees, x, (N, d).
        privileged: What the teacher sees, x*, (N, e).
        targets: Classes y, (N,), int64.
    """

    inputs: Tensor
    privileged: Tensor
    targets: Tensor

    def __post_init__(self) -> None:
        counts = len(self.inputs), len(self.privileged), len(self.targets)
        if len(set(counts)) > 1:
            raise ValueError(
                f"inputs, privileged and targets must be equally many, got {counts}"
            )

    def for_student(self) -> Split:
        """Return x with y: what there is at test time, too."""
        return Split(self.inputs, self.targets)

    def for_teacher(self) -> Split:
        """Return x* with y."""
        return Split(self.privileged, self.targets)


def clean_labels(alpha: Tensor, n: int) -> PrivilegedData:
    """Return data whose x* is the distance to the plane, and whose labels are noisy.

    Args:
        alpha: The plane, (d,).
        n: Examples, at least 1; drawn from torch's generator.

    Example:
        >>> clean_labels(torch.ones(50), 200).privileged.shape
        torch.Size([200, 1])
    """
    x = _normal(n, alpha)
    margin = x @ alpha
    targets = (margin + torch.randn(n) > 0).long()
    return PrivilegedData(x, margin[:, None], targets)


def clean_inputs(alpha: Tensor, n: int) -> PrivilegedData:
    """Return data whose x* is x without its noise.

    Args:
        alpha: The plane, (d,).
        n: Examples, at least 1; drawn from torch's generator.

    Example:
        >>> clean_inputs(torch.ones(50), 200).privileged.shape
        torch.Size([200, 50])
    """
    clean = _normal(n, alpha)
    noisy = clean + torch.randn_like(clean)
    return PrivilegedData(noisy, clean, (clean @ alpha > 0).long())


def relevant_features(alpha: Tensor, n: int, *, features: int = 3) -> PrivilegedData:
    """Return data whose x* are the only features that matter, the first few of x.

    Args:
        alpha: The plane, (d,); the same few components are used.
        n: Examples, at least 1; drawn from torch's generator.
        features: How many matter, 1 to d.

    Example:
        >>> relevant_features(torch.ones(50), 200).privileged.shape
        torch.Size([200, 3])
    """
    _check_features(features, alpha)
    x = _normal(n, alpha)
    few = x[:, :features]
    return PrivilegedData(x, few, (few @ alpha[:features] > 0).long())


def features_by_sample(
    alpha: Tensor, n: int, *, features: int = 3, fixed: bool = True
) -> PrivilegedData:
    """Return data in which other features matter in every example.

    Args:
        alpha: The plane, (d,).
        n: Examples, at least 1; drawn from torch's generator.
        features: How many matter in an example, 1 to d.
        fixed: Whether the first components of alpha weigh them in every example. If
            not, every feature brings its own component, as the paper writes.

    Example:
        >>> features_by_sample(torch.ones(50), 200).privileged.shape
        torch.Size([200, 3])
    """
    _check_features(features, alpha)
    x = _normal(n, alpha)
    chosen = torch.rand_like(x).argsort(dim=1)[:, :features]
    few = x.gather(1, chosen)
    weights = alpha[:features] if fixed else alpha[chosen]
    return PrivilegedData(x, few, ((few * weights).sum(1) > 0).long())


def standardised(
    train: PrivilegedData, test: PrivilegedData
) -> tuple[PrivilegedData, PrivilegedData]:
    """Return both with mean 0 and deviation 1 for every feature of the training data.

    Args:
        train: Decides on means and deviations; at least two examples.
        test: Moved and scaled by the same.

    Example:
        >>> data = clean_inputs(torch.ones(5), 100)
        >>> train, _ = standardised(data, data)
        >>> bool(train.inputs.mean(0).abs().max() < 1e-5)
        True
    """
    inputs = train.inputs.mean(0), train.inputs.std(0)
    privileged = train.privileged.mean(0), train.privileged.std(0)

    def scaled(data: PrivilegedData) -> PrivilegedData:
        return PrivilegedData(
            (data.inputs - inputs[0]) / inputs[1],
            (data.privileged - privileged[0]) / privileged[1],
            data.targets,
        )

    return scaled(train), scaled(test)


def _normal(n: int, alpha: Tensor) -> Tensor:
    check_positive(n=n)
    if alpha.ndim != 1 or not len(alpha):
        shape = tuple(alpha.shape)
        raise ValueError(f"alpha must be one vector (d,), got shape {shape}")
    return torch.randn(n, len(alpha))


def _check_features(features: int, alpha: Tensor) -> None:
    if not 1 <= features <= len(alpha):
        raise ValueError(
            f"features must be from 1 to the {len(alpha)} of alpha, got {features}"
        )
