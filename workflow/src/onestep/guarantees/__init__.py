"""`guarantees`: minimal l1, l2 and l-infinity distances of random and trained residual networks (De Palma, Kiani, Lloyd 2021)."""
