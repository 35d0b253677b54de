"""SciPy fits a softmax regression three ways; scikit-learn's own ends at the same loss."""

import numpy as np
from scipy.optimize import minimize
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import scale

import tinyloss
from tinyloss.adapters.scipy import LinearObjective


def main() -> dict[str, float]:
    """Return the loss that each method ends at."""
    x, y = load_wine(return_X_y=True)
    x = scale(x)
    penalty = 0.01
    objective = LinearObjective(tinyloss.cross_entropy, x, y, penalty=penalty, outputs=3)
    ends: dict[str, float] = {}
    for method in ("L-BFGS-B", "Newton-CG", "trust-ncg"):
        hessp = None if method == "L-BFGS-B" else objective.hessp
        found = minimize(objective, objective.start, method=method, jac=True, hessp=hessp, tol=1e-8)
        ends[method] = float(found.fun)
        print(f"{method:10} loss {found.fun:.12f} after {found.nit:3} steps")
    # Its C multiplies a sum of losses, where the penalty here is beside their mean.
    model = LogisticRegression(C=1 / (penalty * len(y)), tol=1e-10, max_iter=1000).fit(x, y)
    parameters = np.vstack([model.coef_.T, model.intercept_]).reshape(-1)
    ends["scikit-learn"], _ = objective(parameters)
    print(f"scikit-learn's own ends at {ends['scikit-learn']:.12f}")
    return ends


if __name__ == "__main__":
    main()
