"""One module for each rule of the workflow, run as `python -m distrace.nodes.NAME`; no node imports another."""
