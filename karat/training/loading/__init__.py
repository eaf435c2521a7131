"""How images get from a data set to the trial's device."""
