"""Graphs of the shapes that people report in public, each written anew and small. `langgraph.json` names them."""
