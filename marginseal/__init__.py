"""MarginSeal: prove a portfolio's margin health to a venue that never sees the portfolio.

Nothing is imported eagerly; `marginseal.api` is the facade.
"""

__version__ = "0.1.0"
