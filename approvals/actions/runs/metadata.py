"""The metadata that every checkpoint of our runs has: it tells ours from those of other programs."""

RUN_KEY = "countersign_run"
FENCE_KEY = "countersign_fence"
DECISION_KEY = "countersign_decision"
