"""A search within a budget of CPU time, that climbs from cheap evaluations to trained networks."""
