"""Learned functions of scores (units): where they are, their values, and simple functions in their place."""
