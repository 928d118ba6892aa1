"""The store: a run's append-only record of answers; the one truth, from which all else is made.

On disk (`runs/<name>/store/`):

    segment-000001.jsonl   one record a line, only ever appended to
    index/                 where each digest's record lies; derived, may be deleted
    lock                   held by the one process that writes; names it

A record is a JSON object: `digest` (32 hexadecimal digits, of the final request or of a finished
row), `answer`, `labels`, and `crc` (CRC-32, 8 hexadecimal digits, of the line's bytes before
`,"crc"`). Anything that reads JSON lines reads it. The request's text is not kept: it is rendered
again and held against the digest.

Writing is group commit: a record counts for `get` at once, is written and fsynced within about
100 ms of work, and `synced` waits for that. A torn last line is cut before the first append;
damage elsewhere is counted, located, and left alone, and every other record is still used.

What this package does not know: requests, rows, engines.
"""

from cai.store.log import DAMAGE_SHOWN, SEGMENT_BYTES, Damage
from cai.store.store import Record, Store

__all__ = ["DAMAGE_SHOWN", "SEGMENT_BYTES", "Damage", "Record", "Store"]
