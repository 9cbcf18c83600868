"""The LangGraph side of Countersign: graphs, checkpoints, pauses and edits, usable from a notebook.

Nothing here knows of Django, HTTP or users.
"""
