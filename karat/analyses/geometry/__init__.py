"""The loss as a function of a model's weights: directions, planes, curvature, the path of training."""
