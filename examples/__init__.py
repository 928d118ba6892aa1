"""Programs that use what `cai` makes; README.md says what each shows."""
