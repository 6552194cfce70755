"""What touches the data: a few passes over the rows, and nothing else."""
