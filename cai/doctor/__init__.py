"""The doctor: is this model fit to judge, and if not, what exactly is wrong with it?

Known-answer pairs (probes.yaml) are rendered through a run's own judgement template and put to the
judge in both orders; what comes back, and what stands around the answer position, is held to
documented rules (verdict.py). A fault has a name, a sentence and a remedy (faults.py).

What this package does not know: rows, constitutions' wording, how an engine answers.
"""
