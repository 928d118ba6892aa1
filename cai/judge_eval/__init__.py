"""How good a judge a model is: its answers to labelled comparisons, held to the labels.

    file ─reading→ items ─ways→ requests ─work→ verdicts ─measure→ figures ─screen→ a page

What this package does not know: runs of rows, datasets; it uses a recipe's engines and its way of
judging, and nothing that a run has made.
"""
