"""What goes out: a run's dataset with everything it takes to read, check and make it again.

    tree.py        which files travel, and in what form
    portable.py    the recipe without anything of the machine that it ran on
    manifest.py    cai.json: what was pushed, by digest, and what changed from push to push
    push.py        one commit, whole or not at all, that may be asked for again
    difference.py  what a push would change

What this package does not know: how rows are judged, how a dataset is made.
"""
