"""The vanishing gradient and its remedies, measured: one module a study, one command each.

Nothing in the product imports them; they use ``common`` alone.
"""
