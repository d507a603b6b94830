"""TTQ: the two scales of a ternary weight are trained, one for each sign.

Paper: Zhu et al., "Trained Ternary Quantization", ICLR 2017,
https://arxiv.org/abs/1612.01064.

    D  = t max |W|             t = 0.05, one threshold for the layer
    W' = +Wp  where w > D      P, the positive weights
          0   where |w| <= D   Z
         -Wn  where w < -D     N, the negative ones

With g = dL/dW' the scales take the gradient of the expression above,

    dL/dWp = sum of g over P            dL/dWn = - sum of g over N

and the weight behind them one that passes straight through, but scaled:

    dL/dw  = Wp g on P,   g on Z,   Wn g on N

What differs from TWN: the scales are no means of weights but learn by themselves, and
the two need not be equal. If they start as the mean of ``|w|`` over P and N together,
and stand still, this is TWN with the threshold t max ``|W|``.

The scales' start is ours: the mean of ``|w|`` over P, and that over N. The authors'
program starts both at 1. As in the paper, leave the first and the last layer in float.

Before trusting it: nothing keeps a scale above 0, and weight decay pulls at both. Their
gradients are sums over all weights, so that a rate which suits weights may be too large
for scales. One large weight moves the threshold, for all of a layer. The survey says
that a network becomes at least 16 times smaller. With 2 bits a weight and two floats a
layer it is just under 16 times, and less with the layers in float; see
:mod:`effdl.quant.trits`.
"""

from torch import Tensor, nn

from effdl.nas.gradient.gumbel import straight_through
from effdl.quant.ternary import ternarize


class TrainedTernary(nn.Module):
    """Maps a weight to Wp, 0 and -Wn, with the gradients of TTQ.

    A parametrization, as :class:`effdl.quant.twn.TernaryWeight` is one.

    Args:
        weight: What it begins with, for the two scales.
        share: t, 0 to below 1.

    Raises:
        ValueError: If ``share`` is out of range. A weight with NaN or infinity is
            refused, too.

    Attributes:
        positive: Wp, a parameter, ().
        negative: Wn, a parameter, (), above 0 at first.

    Example:
        >>> import torch
        >>> weight = torch.tensor([1.0, 3.0, -0.5, 0.1])
        >>> quantizer = TrainedTernary(weight)
        >>> quantizer(weight).tolist()
        [2.0, 2.0, -0.5, 0.0]
    """

    def __init__(self, weight: Tensor, *, share: float = 0.05) -> None:
        super().__init__()
        if not 0 <= share < 1:
            raise ValueError(f"share must be 0 to below 1, got {share}; try 0.05")
        self.share = share
        codes, weight = self.codes(weight), weight.detach()
        self.positive = nn.Parameter(_mean_size(weight, codes > 0))
        self.negative = nn.Parameter(_mean_size(weight, codes < 0))

    def codes(self, weight: Tensor) -> Tensor:
        """Return -1, 0 and +1, shaped like the weight, without a gradient."""
        return ternarize(weight, self.share * weight.detach().abs().amax())

    def forward(self, weight: Tensor) -> Tensor:
        """Return W', shaped like the weight."""
        codes = self.codes(weight)
        positive, negative = (codes > 0).to(weight), (codes < 0).to(weight)
        value = self.positive * positive - self.negative * negative
        sizes = positive * self.positive + negative * self.negative + (codes == 0)
        return straight_through(sizes.detach() * weight, value)


def _mean_size(weight: Tensor, chosen: Tensor) -> Tensor:
    return weight[chosen].abs().mean() if bool(chosen.any()) else weight.new_ones(())
