r"""Dot-product attention as steps that can be replaced one by one: position, score, scale, mask, normalise, mix.

$$o_i=\sum_jc_{ij}a_{ij}v_j,\qquad a_i=\mathrm{kernel}(\lambda_i\,R_iq_i\cdot R_jk_j+b_{ij}:j\text{ visible to }i)$$

$\lambda_i$ = `scale`, $b$ = `bias`, $c$ = `gate`, $R$ = `rotate`; who sees whom is a `Mask`.
"""

from gezhi.nn.attention.core import Gate as Gate
from gezhi.nn.attention.core import Scale as Scale
from gezhi.nn.attention.core import dot_product_attention as dot_product_attention
from gezhi.nn.attention.kernels import FeatureMap as FeatureMap
from gezhi.nn.attention.kernels import Kernel as Kernel
from gezhi.nn.attention.kernels import l2 as l2
from gezhi.nn.attention.kernels import relu2 as relu2
from gezhi.nn.attention.kernels import softmax as softmax
from gezhi.nn.attention.linear import LinearState as LinearState
from gezhi.nn.attention.linear import Rotate as Rotate
from gezhi.nn.attention.multihead import AttentionCache as AttentionCache
from gezhi.nn.attention.multihead import MultiheadAttention as MultiheadAttention
from gezhi.nn.attention.rule import Mask as Mask
from gezhi.nn.attention.rule import as_mask as as_mask
