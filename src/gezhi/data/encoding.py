"""From a table with gaps and categories to the plain numbers that models take."""

from __future__ import annotations

from typing import Any

import numpy as np

from gezhi.data.kinds import Features

MOST = 100  # columns that one column of categories may become


def encoder(features: Features) -> Any:
    """An unfitted scikit-learn transformer of rows of `features.X`, to be fitted on the training rows alone.

    Missing numbers become the median of their column. A column of categories becomes columns of 0 and 1, one for each
    category of the training rows, a missing value being a category as well; above 100 categories the rarest share one
    column, and a category that no training row has is one of them, or 0 in all. A table without gaps and categories
    (`features.plain`) passes unchanged.

    Returns: a `ColumnTransformer`; `fit` and `transform` take and give arrays of floats, without NaN.
    Example:
        >>> X = np.array([[1.0, 0], [np.nan, 1], [3.0, 1]])
        >>> table = Features(X, np.array([0, 1, 1]), ("n", "y"), ("size", "colour"), "t", {1: ("blue", "red")})
        >>> encoder(table).fit_transform(table.X)
        array([[1., 1., 0.],
               [2., 0., 1.],
               [3., 0., 1.]])
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import OneHotEncoder

    named = sorted(features.categories)
    numbers = [column for column in range(features.X.shape[1]) if column not in features.categories]
    gaps = bool(np.isnan(features.X[:, numbers]).any())
    filled = SimpleImputer(strategy="median", keep_empty_features=True) if gaps else "passthrough"
    hot = OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=MOST, sparse_output=False)
    parts = [("numbers", filled, numbers)] * bool(numbers) + [("categories", hot, named)] * bool(named)
    return ColumnTransformer(parts, sparse_threshold=0)
