"""The margin rules: one a file, each written once in the modelling language."""
