"""Predict final accuracy from the first epochs and the architecture, by regression.

Paper: Baker et al., "Accelerating Neural Architecture Search using Performance
Prediction", ICLR Workshops 2018, https://arxiv.org/abs/1705.10823, section 3.

A hundred networks are trained to the end. From then on, a new one is trained for tau
epochs only. What it is known by:

    x = (u, y_1 .. y_tau, y'_2 .. y'_tau, y''_3 .. y''_tau)
        u      the architecture: counts, cost, settings of the training
        y_t    validation accuracy after epoch t
        y'_t   = y_t - y_(t-1), and y''_t = y'_t - y'_(t-1)

A support vector machine (nu-SVR, Gaussian kernel) maps x to the final accuracy; C, nu
and gamma are drawn at random, and the best by cross-validation stays. With tau = 0 it
is an ordinary accuracy predictor; with the last epoch among the inputs there is nothing
left to predict.

What differs: features and accuracies are standardised first, with means and deviations
of the training networks. Public code for NAS (``svr_estimator.py`` of TSE, ``lcsvr.py``
of NASLib) leaves them as they are, so that a column in millions outweighs accuracies.

Before trusting a prediction: it holds for networks like those it was fitted on, trained
in the same way. Count the trainings that the fit needs when you state what it saves.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.compose import TransformedTargetRegressor
from sklearn.model_selection import KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import NuSVR

from effdl.checks import check_positive
from effdl.nas.curves.training_speed import Floats, as_curves


def curve_features(curves: ArrayLike, architecture: ArrayLike | None = None) -> Floats:
    """Return what a network is known by: itself, its accuracies, their differences.

    Args:
        curves: Validation accuracy after each epoch, (runs, tau); tau may be 0.
        architecture: Numbers u that describe each network, (runs, k).

    Returns:
        One row a run, with k + tau + max(tau - 1, 0) + max(tau - 2, 0) columns.

    Raises:
        ValueError: If ``architecture`` does not describe every run.

    Example:
        >>> curve_features([[0.5, 0.7, 0.8]], [[64]]).round(3)
        array([[64. ,  0.5,  0.7,  0.8,  0.2,  0.1, -0.1]])
    """
    y = as_curves(curves, shortest=0, name="curves")
    u = np.zeros((len(y), 0)) if architecture is None else architecture
    u = as_curves(u, shortest=0, name="architecture")
    if len(u) != len(y):
        raise ValueError(
            f"architecture must have a row for each of {len(y)} curves, got {len(u)}"
        )
    first = np.diff(y, axis=1)
    return np.hstack((u, y, first, np.diff(first, axis=1)))


@dataclass(frozen=True)
class CurveRegression:
    """A fitted predictor of final accuracy.

    Attributes:
        model: The fitted machine, scaling included.
        score: Its R^2 in cross-validation on the networks it was fitted on.
    """

    model: Any
    score: float

    def predict(
        self, curves: ArrayLike, architecture: ArrayLike | None = None
    ) -> Floats:
        """Return the predicted final accuracies, (runs,).

        Args:
            curves: As many epochs as in the fit, (runs, tau).
            architecture: As in the fit, (runs, k).
        """
        found = self.model.predict(curve_features(curves, architecture))
        return np.asarray(found, dtype=np.float64)


def support_vectors(c: float, nu: float, gamma: float) -> Any:  # noqa: ANN401
    """Return an untrained nu-SVR with standardised features and targets.

    Args:
        c: Price of an error.
        nu: Share of support vectors at least, and of errors at most, 0 to 1.
        gamma: The kernel is exp(-gamma d^2) of the standardised distance d.

    Example:
        >>> x = np.linspace(-1, 1, 20)[:, None]
        >>> model = support_vectors(10.0, 0.5, 0.1).fit(x, 3 * x[:, 0])
        >>> model.predict([[0.5]]).round(1)
        array([1.5])
    """
    machine = make_pipeline(StandardScaler(), NuSVR(C=c, nu=nu, gamma=gamma))
    return TransformedTargetRegressor(machine, transformer=StandardScaler())


def fit_curve_regression(
    curves: ArrayLike,
    targets: ArrayLike,
    random: np.random.Generator,
    *,
    architecture: ArrayLike | None = None,
    draws: int = 30,
    folds: int = 3,
) -> CurveRegression:
    """Return a predictor of final accuracy, its settings found by random search.

    Args:
        curves: Validation accuracy after each epoch, (runs, tau); tau may be 0.
        targets: Final accuracy, (runs,).
        random: Draws settings and folds; advanced by the call.
        architecture: Numbers that describe each network, (runs, k).
        draws: How many settings are tried.
        folds: Parts of the cross-validation, at least 2.

    Raises:
        ValueError: If there is nothing to learn from, or targets and runs do not
            match.

    Example:
        >>> random = np.random.default_rng(0)
        >>> curves = random.uniform(0, 1, (40, 2))
        >>> fit = fit_curve_regression(curves, curves[:, 1], random, draws=10)
        >>> fit.score > 0.9
        True
    """
    check_positive(draws=draws)
    x, y = curve_features(curves, architecture), np.asarray(targets, dtype=np.float64)
    if y.shape != (len(x),) or x.shape[1] == 0 or not 2 <= folds <= len(x):
        raise ValueError(
            f"got features {x.shape}, targets {y.shape} and {folds} folds; give one "
            "target a run, at least one feature, and 2 to as many folds as runs"
        )
    parts = KFold(folds, shuffle=True, random_state=int(random.integers(2**31)))
    tried = []
    for _ in range(draws):
        c, gamma = np.exp(random.uniform(np.log((0.01, 1e-4)), np.log((100.0, 1.0))))
        model = support_vectors(c, random.uniform(0.05, 0.95), gamma)
        score = float(cross_val_score(model, x, y, cv=parts).mean())
        tried.append((score, model))
    score, model = max(tried, key=lambda found: found[0])
    return CurveRegression(model.fit(x, y), score)
