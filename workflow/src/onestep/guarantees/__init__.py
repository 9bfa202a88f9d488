"""De Palma, Kiani, Lloyd 2021: minimal l1, l2 and l-infinity distances of random and trained image networks."""
