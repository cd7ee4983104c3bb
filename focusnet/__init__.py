"""FocusNet for acoustic scene classification: the science of one trial, without Ray or Optuna."""
