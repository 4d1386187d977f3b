r"""Closed-form logistic regression: softmax weights from class means and one covariance, in one pass.

Title: Closed-form logistic regression | 逻辑回归的解析解
Also: closed-form logistic regression, 8578
Tags: classification, linear model, streaming
Articles: 概率视角下的线性模型:逻辑回归有解析解吗?
Page: docs/methods/closed_form_logistic.md
Notation: $\mu_i$ = `means_[i]`, $p_i$ = `class_weight_sum_[i]` / total, $\Sigma$ = `covariance_`.
"""

from gezhi.classification.closed_form_logistic.estimator import ClosedFormLogisticRegression
from gezhi.classification.closed_form_logistic.head import closed_form_linear_head
from gezhi.classification.closed_form_logistic.moments import SingularCovarianceWarning

__all__ = ["ClosedFormLogisticRegression", "SingularCovarianceWarning", "closed_form_linear_head"]
