"""The job queue, the tasks, and the worker that carries them out."""
