"""What all tests share: threads that wait for each other sleep, as in the jobs of the workflow."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
