"""The scikit-learn form."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from gezhi._checks import check_integer, invalid
from gezhi.text.word_mover.costs import Array
from gezhi.text.word_mover.documents import Documents, Metric, read_documents
from gezhi.text.word_mover.search import Collection


class Neighbors(NamedTuple):
    """Distances and numbers of the nearest documents, (queries, k), and pairs solved for each query, (queries,)."""

    distances: Array
    indices: NDArray[np.int64]
    solved: NDArray[np.int64]


class WordMoverIndex(TransformerMixin, BaseEstimator):
    r"""The nearest documents by word mover's or word rotator's distance: exactly, with few pairs solved.

    Every document is bounded from below, and a pair is solved only where the bounds do not decide. With the potentials
    u of the query's words that a solved document left,

    $$\sum_ip_iu_i+\sum_jq_j\min_i(D_{ij}-u_i)\le\mathrm{EMD}(p,q,D) \tag{8}$$

    holds for *every* document and costs one sparse product for all; what it leaves meets (5).

    Args:
        vectors: of the words. A matrix, (words, d): X is then a matrix of counts or other weights, documents × words,
            dense or sparse, as `CountVectorizer` gives. A mapping from word to vector, or gensim's `KeyedVectors`: X
            is then a sequence of lists of words, and words without a vector are left out. None: X is a sequence of
            matrices, one vector a token.
        metric: `"wmd"`; `"wrd"`; `"cosine"`: the cost of WRD with the weights of WMD, so that counts times any weight
            of a word, such as SIF's, may be given.
        n_neighbors: k where a call gives none, ≥ 1.

    Attributes:
        n_documents_: of the fitted documents.
        n_features_in_: columns of X, where it is a matrix of counts.
    Errors: ValueError naming the argument: documents without a word that has a vector, by their numbers; NaN and
        infinity; more neighbours than documents.
    Cost: for a query of n words O(n V d) for V distinct words, and the solved pairs, as `emd`; memory O(n V), at most
        256 MiB, beside the documents. Use instead: mean vectors in an approximate index, where a near answer will do.
    Example:
        >>> vectors = {"cat": [1.0, 0.1], "dog": [1.0, 0.3], "car": [0.0, 1.0], "bus": [0.1, 1.0]}
        >>> index = WordMoverIndex(vectors, metric="wrd").fit([["car", "bus"], ["dog"], ["cat", "car"]])
        >>> index.kneighbors([["cat", "unknown"]], n_neighbors=2)[1]
        array([[1, 2]])

    References: Kusner et al., From Word Embeddings To Document Distances, 2015; Yokoi et al., Word Rotator's Distance,
        2020; 苏剑林, 从EMD、WMD到WRD:文本向量序列的相似度计算, 2020.
    """

    def __init__(self, vectors: Any = None, *, metric: Metric = "wmd", n_neighbors: int = 5) -> None:
        self.vectors = vectors
        self.metric = metric
        self.n_neighbors = n_neighbors

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: ARG002
        """Keep the documents among which to seek."""
        check_integer("n_neighbors", self.n_neighbors, at_least=1)
        self._collection = Collection(read_documents(X, self.vectors, self.metric), self.metric)
        self.n_documents_ = len(self._collection)
        if sparse.issparse(X) or getattr(X, "ndim", 0) == 2:
            self.n_features_in_ = X.shape[1]
        return self

    def search(self, X: Any = None, n_neighbors: int | None = None) -> Neighbors:
        """The nearest documents of each query, and how many pairs were solved for it.

        Args:
            X: queries, in the form of the fitted documents; None: these themselves, each without itself.
            n_neighbors: k; None: as set.
        Returns: distances, ascending, equal ones by the lower number; numbers of documents; pairs solved, from k on.
        """
        check_is_fitted(self)
        k = check_integer("n_neighbors", self.n_neighbors if n_neighbors is None else n_neighbors, at_least=1)
        most = self.n_documents_ - (X is None)
        if k > most:
            raise invalid("n_neighbors", f"be at most the {most} documents there are", k)
        queries = self._collection.documents if X is None else self._read(X)
        skipped = range(self.n_documents_) if X is None else [-1] * queries.weights.shape[0]
        found = [self._collection.nearest(*_bag(queries, i), k, skip) for i, skip in enumerate(skipped)]
        distances, indices, solved = zip(*found, strict=True)
        return Neighbors(np.stack(distances), np.stack(indices), np.array(solved, dtype=np.int64))

    def kneighbors(self, X: Any = None, n_neighbors: int | None = None, return_distance: bool = True) -> Any:
        """`search` as scikit-learn's neighbours give it: the pair of distances and indices, or the indices alone."""
        found = self.search(X, n_neighbors)
        return (found.distances, found.indices) if return_distance else found.indices

    def kneighbors_graph(self, X: Any = None, n_neighbors: int | None = None) -> Any:
        """Distances to the nearest documents as a CSR matrix, (queries, documents); zeros are stored."""
        found = self.search(X, n_neighbors)
        ends = np.arange(0, found.indices.size + 1, found.indices.shape[1])
        shape = (len(found.indices), self.n_documents_)
        return sparse.csr_matrix((found.distances.ravel(), found.indices.ravel(), ends), shape=shape)

    def transform(self, X: Any) -> Any:
        """`kneighbors_graph` of queries, for estimators with `metric="precomputed"`; a fitted document finds itself."""
        return self.kneighbors_graph(X)

    def distances(self, X: Any) -> Array:
        """To every fitted document, (queries, documents): each pair is solved."""
        check_is_fitted(self)
        queries = self._read(X)
        return np.stack([self._collection.distances(*_bag(queries, i)) for i in range(queries.weights.shape[0])])

    def lower_bounds(self, X: Any) -> Array:
        """What these distances are at least, (queries, documents): the larger of the centroids' bound and (5)."""
        check_is_fitted(self)
        queries = self._read(X)
        return np.stack([self._collection.bounds(*_bag(queries, i)) for i in range(queries.weights.shape[0])])

    def _read(self, X: Any) -> Documents:
        queries, fitted = read_documents(X, self.vectors, self.metric), self._collection.documents
        if queries.points.shape[1] != fitted.points.shape[1]:
            raise invalid(
                "X", f"have vectors of length {fitted.points.shape[1]}, as the fitted", queries.points.shape[1]
            )
        return queries

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse, tags.requires_fit = True, True
        tags.input_tags.two_d_array, tags.input_tags.string = self.vectors is not None, True
        return tags


def _bag(documents: Documents, i: int) -> tuple[Array, Array]:
    words, weights = documents.of(i)
    return documents.points[words], weights
