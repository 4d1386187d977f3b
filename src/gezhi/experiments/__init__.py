"""One experiment a method: studies, arms, claims. Shared set-ups begin with an underscore."""
