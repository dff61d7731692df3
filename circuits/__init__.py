"""The modelling language for margin rules, and the circuits it compiles to."""
