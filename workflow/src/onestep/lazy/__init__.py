"""`lazy`: two-layer networks trained near their initialisation (Wang, Ullah, Mianjy, Arora 2022)."""
