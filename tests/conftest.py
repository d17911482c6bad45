"""What all tests share: threads that wait for each other soon sleep, as in the jobs of the workflow."""

import os

os.environ.setdefault("GOMP_SPINCOUNT", "6000")
