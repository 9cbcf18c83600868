"""Rules of the console over plain values and rows: who may, what counts, what is shown. They change nothing."""
