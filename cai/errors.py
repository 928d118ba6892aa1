"""Every error the program raises on purpose, in one tree.

    CaiError                     what is wrong and where; what to do next
    ├── InputError               something a person wrote or pointed at
    │   ├── SourceError          a dataset file or repository
    │   ├── ConstitutionError    a principles file
    │   ├── TemplateError        a prompts/*.j2 file
    │   ├── RecipeError          a recipe file
    │   ├── ReviewError          a review sheet, its key or a file of answers
    │   └── MissingExtraError    an optional dependency that is not installed
    ├── RunError                 a run folder
    │   ├── RunLockedError       another process is writing to it
    │   └── StoreError           the store is damaged or cannot be written
    ├── PublishError             what would be published, or the page it would go to
    │   └── HubError             the Hub cannot be reached, or refuses
    │       ├── HubMovedError    somebody else's commit came first
    │       └── TransientHubError  a later try may go well
    ├── DoctorError              a model is not fit for its role; the fault by its name
    └── EngineError              a model that was asked
        ├── EngineRefusedError   it will refuse every such request: wrong model, wrong arguments
        │   └── RolesRefusedError  its chat template refuses a role, or leaves out what one says
        ├── EngineAnswerError    it answered with something that is no answer
        └── TransientEngineError it may answer the same request later
            └── EngineDownError  it cannot be reached at all

`EngineRefusedError` and `EngineDownError` stop a run, `EngineAnswerError` and a
`TransientEngineError` that outlives its retries put one row into quarantine.

What this module does not know: how an error is shown (cai/cli) or retried (cai/engine).
"""

from __future__ import annotations


class CaiError(Exception):
    """An error with one sentence of what is wrong and one of what to do.

    `problem` says what is wrong and where, `remedy` what the reader can do about it.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem if not remedy else f"{problem} {remedy}")
        self.problem = problem
        self.remedy = remedy


class InputError(CaiError):
    """Something that a person wrote or pointed at is not usable."""


class SourceError(InputError):
    """A source (a dataset file, folder or repository) cannot be read as rows."""


class ConstitutionError(InputError):
    """A constitution file is not valid; the message lists every mistake with its place."""


class TemplateError(InputError):
    """A template does not compile, or uses a variable that it is not given."""


class RecipeError(InputError):
    """A recipe is not valid; the message lists every mistake with its place."""


class ReviewError(InputError):
    """A review sheet, its key or its answers are not usable; the message lists every mistake."""


class MissingExtraError(InputError):
    """A part of the program was asked for whose optional dependency is not installed."""


class RunError(CaiError):
    """A run folder is not usable."""


class RunLockedError(RunError):
    """Another process holds the run's lock; the message names it."""


class StoreError(RunError):
    """The store is damaged, of an unknown version, or cannot be written."""


class PublishError(CaiError):
    """What would be published, or the page it would go to, is not usable."""


class HubError(PublishError):
    """The Hub cannot be reached, or refuses; whatever was tried changed nothing there by half."""


class HubMovedError(HubError):
    """Somebody else's commit came first, so this one was refused."""


class TransientHubError(HubError):
    """The Hub failed in a way that a later try may not.

    `retry_after_s` is what it asked for, in seconds, or None.
    """

    def __init__(self, problem: str, remedy: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(problem, remedy)
        self.retry_after_s = retry_after_s


class DoctorError(CaiError):
    """A model is not fit for its role (`cai doctor`). `faults`: their names, the first one decides."""

    def __init__(self, problem: str, remedy: str = "", faults: tuple[str, ...] = ()) -> None:
        super().__init__(problem, remedy)
        self.faults = faults


class EngineError(CaiError):
    """A model could not be asked, or what it answered is no answer."""


class EngineRefusedError(EngineError):
    """The engine will refuse every such request (wrong model name, unknown argument)."""


class RolesRefusedError(EngineRefusedError):
    """The chat template refuses a role that a prompt uses, or leaves out what one says."""


class EngineAnswerError(EngineError):
    """The engine answered with something that is not an answer (missing log-probabilities, NaN)."""


class TransientEngineError(EngineError):
    """The engine failed in a way that a later try may not.

    `retry_after_s` is what the server asked for, in seconds, or None.
    """

    def __init__(self, problem: str, remedy: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(problem, remedy)
        self.retry_after_s = retry_after_s


class EngineDownError(TransientEngineError):
    """The engine cannot be reached at all."""
