"""A study's facts as numbers, names and codes: what its journal tells, without words or plots."""
