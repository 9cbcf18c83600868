"""What every checkpoint of our runs says of itself in its metadata, so that ours can be told from others'."""

RUN_KEY = "countersign_run"
FENCE_KEY = "countersign_fence"
DECISION_KEY = "countersign_decision"
