"""Fitting time of the closed form against lbfgs and LDA, at several condition numbers."""

from __future__ import annotations

from functools import partial

import numpy as np
from _bench import Benchmark, arguments

options = arguments()

from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from gezhi.classification import ClosedFormLogisticRegression
from gezhi.experiments.closed_form_logistic import gaussian_classes

AT_LEAST = {1.0: 10.0, 1e2: 20.0, 1e4: 20.0}


def main() -> None:
    bench = Benchmark("closed_form_logistic")
    bench.peer("scikit-learn")
    rows, columns, rounds = (5_000, 20, 3) if options.quick else (100_000, 100, 3)
    for condition, bar in AT_LEAST.items():
        X, X_test, y, y_test = gaussian_classes(1000, rows, columns, condition)
        ours, lda = ClosedFormLogisticRegression(), LinearDiscriminantAnalysis(solver="lsqr")
        lbfgs = LogisticRegression(C=1.0, max_iter=2000)
        case = f"{rows} × {columns}, condition {condition:g}"
        gap = abs(ours.fit(X, y).predict_proba(X_test) - lda.fit(X, y).predict_proba(X_test)).max()
        bench.same(f"{case}: probabilities of LDA", gap, 1e-8)
        calls = {"closed form": partial(ours.fit, X, y), "lbfgs": partial(lbfgs.fit, X, y)}
        calls["LDA lsqr"] = partial(lda.fit, X, y)
        seconds = bench.time(case, calls, rounds)
        limits = {} if options.quick else {"at_least": bar}
        bench.ratio(f"{case}: lbfgs : closed form", seconds["lbfgs"], seconds["closed form"], **limits)
        bench.ratio(f"{case}: LDA : closed form", seconds["LDA lsqr"], seconds["closed form"])
        scores = f"closed form {ours.score(X_test, y_test):.4f}, lbfgs {lbfgs.score(X_test, y_test):.4f}"
        bench.notes.append(f"{case}: accuracy {scores}, {int(np.max(lbfgs.n_iter_))} iterations")
    bench.finish(options.json)


with threadpool_limits(1):
    main()
