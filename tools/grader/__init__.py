"""Release and grade the assignments: what `make assignments` and `make grade` run."""
