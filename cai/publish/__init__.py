"""What goes out: a run's dataset with everything it takes to read, check and make it again.

    prepare.py     a run made ready: files, findings, card
    tree.py        which files travel, and in what form; portable.py: the recipe without its machine
    with_store.py  the rows (rows.py) and the part of the store that a generation stands on
    facts.py       what is known of a run; gate.py: what speaks against it (scan.py, terms.py)
    card.py        the card (card_figures.py, card_words.py, markdown_text.py, hub_values.py)
    manifest.py    cai.json: what was pushed, by digest, and what changed from push to push
    push.py        one commit, whole or not at all; hub.py: the Hub's calls (hub_errors.py)
    difference.py  what a push would change
    fetch.py       what was published, checked; rebuild.py and fork.py: made again, gone on from

What this package does not know: how rows are judged, how a dataset is made.
"""
