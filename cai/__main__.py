"""`python -m cai` is `cai`.

What this module does not know: anything else.
"""

from cai.cli import main

if __name__ == "__main__":
    main()
