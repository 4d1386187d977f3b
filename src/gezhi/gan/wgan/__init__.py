r"""What a Wasserstein critic measures: the exact distance of batches, critics by c-transform, and centres.

Title: WGAN and the Wasserstein distance | WGAN 与 Wasserstein 距离
Also: WGAN, WGAN-GP, c-transform, 8244
Tags: GAN, optimal transport, Wasserstein distance
Articles: WGAN的成功,可能跟Wasserstein距离没啥关系
Page: docs/methods/wgan.md
Notation: $x$ = `real`, $y$ = `fake`, $f$ = `critic`, $C_{ij}=\lVert x_i-y_j\rVert_2$ = `cost`,
    $\varepsilon$ = `epsilon`.
"""

from gezhi.gan.wgan.medians import KMedians, geometric_median
from gezhi.gan.wgan.transforms import CTransform, c_transform, soft_c_transform
from gezhi.gan.wgan.transport import pairwise_distances, transport_plan, wasserstein1

__all__ = [
    "CTransform",
    "KMedians",
    "c_transform",
    "geometric_median",
    "pairwise_distances",
    "soft_c_transform",
    "transport_plan",
    "wasserstein1",
]
