"""A Slurm cluster of two nodes on one machine, and the checks that need it (`make slurm-check`)."""
