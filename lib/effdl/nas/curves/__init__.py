"""Learning curves as cheap predictors: what the first epochs tell about the last."""
