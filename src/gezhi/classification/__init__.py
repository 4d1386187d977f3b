"""scikit-learn estimators, and post-processing of predicted probabilities."""

from gezhi.classification.closed_form_logistic import ClosedFormLogisticRegression as ClosedFormLogisticRegression
from gezhi.classification.closed_form_logistic import SingularCovarianceWarning as SingularCovarianceWarning
from gezhi.classification.closed_form_logistic import closed_form_linear_head as closed_form_linear_head
