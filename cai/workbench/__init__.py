"""The workbench of whoever edits principles: lint, import, try, test, diff, ablate.

What this package does not know: terminals, how a run is worked on.
"""
