"""Word mover's and word rotator's distance: how far the words of one text are from those of another."""

from gezhi.text.word_mover.blurred import sinkhorn
from gezhi.text.word_mover.bounds import (
    reduced_emd,
    relaxed_emd,
    rwmd,
    wcd,
    wrd_centroid_bound,
    wrd_gelbrich_bound,
    wrd_relaxed_bound,
)
from gezhi.text.word_mover.distances import emd, word_movers_distance, word_rotators_distance
from gezhi.text.word_mover.index import Neighbors, WordMoverIndex

__all__ = [
    "Neighbors",
    "WordMoverIndex",
    "emd",
    "reduced_emd",
    "relaxed_emd",
    "rwmd",
    "sinkhorn",
    "wcd",
    "word_movers_distance",
    "word_rotators_distance",
    "wrd_centroid_bound",
    "wrd_gelbrich_bound",
    "wrd_relaxed_bound",
]
