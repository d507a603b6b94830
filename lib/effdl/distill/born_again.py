"""Born-again networks: each generation is taught by the one before, its equal.

Paper: Furlanello et al., "Born Again Neural Networks", ICML 2018,
https://arxiv.org/abs/1805.04770, section 3.

    generation 0     trained on the labels
    generation k     the same architecture, new weights, taught by generation k - 1

Nothing gets smaller. If a student can be better than a teacher of its own size, then
what it learns from is more than the teacher's knowledge: the soft targets themselves,
which say of every image what it resembles and how hard it is. The generations differ
in their first weights, so their mean is an ensemble, too:
:class:`~effdl.distill.averaged_teachers.Averaged`.

What differs: the paper's loss is the teacher's cross-entropy at temperature 1, and the
sum of that and the labels'. Here the two are weighed, (1 - alpha) CE + alpha T^2 KL, as
in all of this family; alpha = 1/2 with T = 1 is half their sum, up to a constant.

Before trusting it: k generations are k trainings more. Compare with a longer training
and with an ensemble of as many networks.
"""

from collections.abc import Callable

from torch import nn

from effdl.checks import check_positive
from effdl.data.digits import Split
from effdl.distill.kd import distil
from effdl.distill.recipe import TEN_EPOCHS, Recipe
from effdl.train import train_classifier


def born_again(
    make: Callable[[int], nn.Module],
    split: Split,
    recipe: Recipe = TEN_EPOCHS,
    *,
    generations: int = 2,
    temperature: float = 1.0,
    alpha: float = 0.5,
) -> list[nn.Module]:
    """Return all networks in evaluation mode: generation 0, then those taught.

    Args:
        make: Returns a new network for a generation, 0, 1, ...; other weights for each.
        split: Inputs and targets.
        recipe: How long and how fast, for each of them.
        generations: How many follow generation 0.
        temperature: T, above 0.
        alpha: The share of the generation before, 0 to 1.

    Example:
        >>> import torch
        >>> from effdl.seed import seeded
        >>> def make(generation):
        ...     with seeded(generation):
        ...         return nn.Linear(2, 2)
        >>> split = Split(torch.eye(2).repeat(50, 1), torch.arange(2).repeat(50))
        >>> len(born_again(make, split, generations=1))
        2
    """
    check_positive(generations=generations)
    first = make(0)
    train_classifier(
        first,
        split,
        epochs=recipe.epochs,
        learning_rate=recipe.learning_rate,
        batch_size=recipe.batch_size,
        weight_decay=recipe.weight_decay,
        seed=recipe.seed,
    )
    family = [first.eval()]
    for generation in range(1, generations + 1):
        child = make(generation)
        distil(child, family[-1], split, recipe, temperature=temperature, alpha=alpha)
        family.append(child.eval())
    return family
