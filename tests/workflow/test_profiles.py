"""The profiles that we ship, as far as dry runs can check them; tests/cluster tries that of Slurm for real."""

from importlib.util import find_spec

import pytest
import yaml

from snakemake_runs import ROOT, new_folder, snakemake

PROFILES = sorted((ROOT / "profiles").glob("*/config.yaml"))
ON_CLUSTERS = [path for path in PROFILES if path.parent.name != "default"]


def test_jobs_of_slurm_are_not_put_into_arrays():
    # Issue 473 of the plugin: they hold their slots for ever.
    assert "slurm-array-jobs" not in yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())


@pytest.mark.parametrize("path", ON_CLUSTERS, ids=lambda path: path.parent.name)
def test_a_profile_that_was_not_run_says_so_first(path):
    assert path.read_text().startswith("# Only dry runs were tried.") == (path.parent.name != "slurm")


@pytest.mark.parametrize("path", ON_CLUSTERS, ids=lambda path: path.parent.name)
def test_a_dry_run_takes_the_profile(path, tmp_path, config):
    plugin = f"snakemake_executor_plugin_{path.parent.name}"
    if find_spec(plugin) is None:
        pytest.skip(f"needs {plugin}")
    printed = snakemake(new_folder(tmp_path / "new", config), "--dry-run", "--profile", str(path.parent))
    assert "mem_mb=4000" in printed
    assert "runtime=60" in printed
