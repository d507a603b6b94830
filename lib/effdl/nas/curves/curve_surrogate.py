"""Predict whole learning curves from the architecture: a surrogate benchmark.

Paper: Yan et al., "NAS-Bench-x11 and the Power of Learning Curves", NeurIPS 2021,
https://arxiv.org/abs/2111.03602, section 3.

Curves of n networks over T epochs are the rows of Y. They resemble one another, so a
few curves, the components, mix into all of them:

    Y   = U S V^T                                        singular value decomposition
    Y_k = U_k S_k V_k^T  = Z V_k^T                       keep k; Z: n rows of k numbers
    |Y - Y_k|^2 = sum over i > k of s_i^2                no k curves do better

A regressor learns to tell the k numbers from the architecture. That gives smooth
curves, so noise is put back: the residuals Y - Y_k of the networks that it learned from
are drawn from, blurred a little (a kernel density estimate).

What differs: any regressor may be passed, where the paper takes gradient boosting; the
numbers are not standardised, which leaves trees as they are; and the noise is added
whole, where the public code adds half of it.

Before trusting a curve: the noise is that of all networks, whatever the architecture,
and what the regressor gets wrong is not part of it. A search on a surrogate finds the
surrogate's best network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from effdl.checks import check_positive
from effdl.nas.curves.training_speed import Floats, as_curves


class Regressor(Protocol):
    """What scikit-learn calls a regressor with several outputs."""

    def fit(self, features: Floats, targets: Floats, /) -> object:
        """Learn from features (n, d) and targets (n, k)."""

    def predict(self, features: Floats, /) -> Floats:
        """Return (n, k) for features (n, d)."""


@dataclass(frozen=True)
class CurveBasis:
    """The components of a set of curves.

    Attributes:
        components: V_k^T, (k, epochs), orthonormal rows.
        coefficients: Z of the curves that it was made from, (runs, k).
        singular_values: All of them, the largest first.
    """

    components: Floats
    coefficients: Floats
    singular_values: Floats

    def reconstruct(self, coefficients: ArrayLike) -> Floats:
        """Return curves (runs, epochs) for coefficients (runs, k)."""
        return np.asarray(coefficients, dtype=np.float64) @ self.components

    @property
    def dropped(self) -> float:
        """The squared error of the reconstruction, over all runs and epochs."""
        return float((self.singular_values[len(self.components) :] ** 2).sum())


def curve_basis(curves: ArrayLike, components: int = 6) -> CurveBasis:
    """Return the components that reconstruct the curves best.

    Args:
        curves: Accuracy after each epoch, (runs, epochs).
        components: Number k, at most the smaller of runs and epochs.

    Raises:
        ValueError: If there are fewer components than asked for.

    Example:
        >>> basis = curve_basis([[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]], components=1)
        >>> round(basis.dropped, 6)  # multiples of one curve
        0.0
    """
    check_positive(components=components)
    y = as_curves(curves, name="curves")
    if components > min(y.shape):
        raise ValueError(
            f"components must be at most {min(y.shape)} for curves of shape "
            f"{y.shape}, got {components}"
        )
    u, s, v = np.linalg.svd(y, full_matrices=False)
    return CurveBasis(v[:components], (u * s)[:, :components], s)


@dataclass(frozen=True)
class CurveSurrogate:
    """Curves of networks that nobody trained.

    Attributes:
        basis: The components of the curves that it learned from.
        regressor: Fitted, from features to coefficients.
        residuals: What the components leave out of those curves, (runs, epochs).
    """

    basis: CurveBasis
    regressor: Regressor
    residuals: Floats

    def predict(self, features: ArrayLike) -> Floats:
        """Return the smooth curves (runs, epochs) for features (runs, d)."""
        x = as_curves(features, name="features")
        coefficients = self.regressor.predict(x).reshape(len(x), -1)
        return self.basis.reconstruct(coefficients)

    def sample(self, features: ArrayLike, random: np.random.Generator) -> Floats:
        """Return curves with noise, another draw in every call.

        Args:
            features: As in ``predict``, (runs, d).
            random: Advanced by the call.
        """
        smooth = self.predict(features)
        n, epochs = self.residuals.shape
        width = n ** (-1 / (epochs + 4))  # Scott's rule
        chosen = random.integers(n, size=len(smooth))
        centred = self.residuals - self.residuals.mean(axis=0)
        blur = random.standard_normal((len(smooth), n)) @ centred / np.sqrt(n)
        return smooth + self.residuals[chosen] + width * blur


def fit_curve_surrogate(
    features: ArrayLike,
    curves: ArrayLike,
    regressor: Regressor,
    *,
    components: int = 6,
) -> CurveSurrogate:
    """Return a surrogate for the curves of a space of networks.

    Args:
        features: Numbers that describe each network, (runs, d).
        curves: Accuracy after each epoch, (runs, epochs).
        regressor: Fitted by this call, such as scikit-learn's RandomForestRegressor.
        components: Number k of components.

    Raises:
        ValueError: If features and curves do not match.

    Example:
        >>> from sklearn.linear_model import LinearRegression
        >>> x = np.arange(6.0)[:, None]
        >>> curves = x * np.array([[0.05, 0.08, 0.1]])
        >>> fit = fit_curve_surrogate(x, curves, LinearRegression(), components=1)
        >>> fit.predict([[7.0]]).round(3)
        array([[0.35, 0.56, 0.7 ]])
    """
    x, y = as_curves(features, name="features"), as_curves(curves, name="curves")
    if len(x) != len(y):
        raise ValueError(f"features must have {len(y)} rows, one a curve, got {len(x)}")
    basis = curve_basis(y, components)
    target = basis.coefficients[:, 0] if components == 1 else basis.coefficients
    regressor.fit(x, target)
    return CurveSurrogate(basis, regressor, y - basis.reconstruct(basis.coefficients))
